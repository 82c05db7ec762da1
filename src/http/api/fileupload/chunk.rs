//! The multipart body of one chunk. Its fields come in any order, the bytes often before those that say where they
//! belong; [`PartIntake`] holds them until then.

use crate::http::refusal::Refusal;
use crate::http::typed::{FieldKind, FormField, FormSchema, Multipart, Part};
use crate::upload::port::Announced;
use crate::upload::{MAX_NUMBER, PartIntake};

/// The longest `userId` in characters.
const MAX_USER_CHARS: usize = 255;

/// The form as the document shows it.
pub struct ChunkForm;

impl FormSchema for ChunkForm {
    const FIELDS: &'static [FormField] = &[
        field(
            "sessionId",
            "Which upload the chunk belongs to: up to 100 characters, chosen by the client.",
            FieldKind::Text,
            true,
        ),
        field(
            "chunkNumber",
            "The chunk's place in the file, from 0 or from 1; at most 1000000.",
            FieldKind::Integer,
            true,
        ),
        field("chunk", "The chunk's bytes.", FieldKind::File, true),
        field("fileName", "The file's name, without a path.", FieldKind::Text, false),
        field("totalChunks", "How many chunks there will be.", FieldKind::Integer, false),
        field("fileSize", "The length of the whole file in bytes.", FieldKind::Integer, false),
        field("userId", "Whom the file belongs to; shown in the list of completed uploads.", FieldKind::Text, false),
    ];
}

const fn field(name: &'static str, description: &'static str, kind: FieldKind, required: bool) -> FormField {
    FormField { name, description, kind, required }
}

/// Receives the chunk that `form` holds.
pub async fn receive(mut form: Multipart<ChunkForm>, mut intake: PartIntake) -> Result<(), Refusal> {
    let mut fields = Fields::default();
    let mut has_chunk = false;
    while let Some(part) = form.next_part().await? {
        if part.name != "chunk" {
            let Some(field) = Field::of(&part.name) else { continue };
            fields.set(field, form.text(&part).await?)?;
        } else if is_file(&part) {
            if std::mem::replace(&mut has_chunk, true) {
                return Err(Refusal::bad_request("chunk: there is more than one in the request"));
            }
            fields.address(&mut intake).await?;
            while let Some(bytes) = form.chunk().await? {
                intake.write(bytes).await?;
            }
        }
    }
    fields.require()?;
    if !has_chunk {
        return Err(missing("chunk", "it holds the bytes, as a file"));
    }
    fields.address(&mut intake).await?;
    intake.finish(fields.announced).await?;
    Ok(())
}

/// Generated Dart clients send a text field of the file's name before the file, and the file itself without a name.
fn is_file(part: &Part) -> bool {
    let has_other_type = |content_type: &String| !content_type.trim_start().starts_with("text/plain");
    part.file_name.is_some() || part.content_type.as_ref().is_some_and(has_other_type)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    SessionId,
    ChunkNumber,
    FileName,
    TotalChunks,
    FileSize,
    UserId,
}

impl Field {
    const ALL: [Field; 6] =
        [Field::SessionId, Field::ChunkNumber, Field::FileName, Field::TotalChunks, Field::FileSize, Field::UserId];

    fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Field::SessionId => "sessionId",
            Field::ChunkNumber => "chunkNumber",
            Field::FileName => "fileName",
            Field::TotalChunks => "totalChunks",
            Field::FileSize => "fileSize",
            Field::UserId => "userId",
        }
    }
}

/// What the request has said so far.
#[derive(Debug, Default)]
struct Fields {
    session_id: Option<String>,
    chunk_number: Option<u32>,
    announced: Announced,
    seen: Vec<Field>,
}

impl Fields {
    /// An empty field counts as one that is not there.
    fn set(&mut self, field: Field, text: String) -> Result<(), Refusal> {
        if text.is_empty() {
            return Ok(());
        }
        if self.seen.contains(&field) {
            return Err(refused(field, "there is more than one in the request"));
        }
        self.seen.push(field);
        match field {
            Field::SessionId => self.session_id = Some(text),
            Field::ChunkNumber => self.chunk_number = Some(number(field, &text, u64::from(MAX_NUMBER))? as u32),
            Field::FileName => self.announced.file_name = Some(text),
            // Numbers from 0 to the highest are one more than the highest.
            Field::TotalChunks => {
                self.announced.total_parts = Some(number(field, &text, u64::from(MAX_NUMBER) + 1)? as u32);
            }
            Field::FileSize => self.announced.size = Some(number(field, &text, i64::MAX as u64)?),
            Field::UserId if text.chars().count() > MAX_USER_CHARS => {
                return Err(refused(field, &format!("at most {MAX_USER_CHARS} characters")));
            }
            Field::UserId => self.announced.user = Some(text),
        }
        Ok(())
    }

    /// Tells the intake where the chunk belongs as soon as that is known.
    async fn address(&self, intake: &mut PartIntake) -> Result<(), Refusal> {
        if let (Some(session), Some(number), false) = (&self.session_id, self.chunk_number, intake.is_addressed()) {
            intake.address(session, number, &self.announced).await?;
        }
        Ok(())
    }

    fn require(&self) -> Result<(), Refusal> {
        if self.session_id.is_none() {
            return Err(missing("sessionId", "it says which upload the chunk belongs to"));
        }
        if self.chunk_number.is_none() {
            return Err(missing("chunkNumber", "it says where in the file the chunk belongs"));
        }
        Ok(())
    }
}

fn number(field: Field, text: &str, most: u64) -> Result<u64, Refusal> {
    let text = text.trim();
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refused(field, "a whole number is expected"));
    }
    if text.starts_with('-') {
        return Err(refused(field, "it must not be negative"));
    }
    // More digits than fit are more than the most.
    match digits.parse() {
        Ok(number) if number <= most => Ok(number),
        _ => Err(refused(field, &format!("at most {most}"))),
    }
}

fn refused(field: Field, why: &str) -> Refusal {
    Refusal::bad_request(format!("{}: {why}", field.name()))
}

fn missing(name: &str, what_for: &str) -> Refusal {
    Refusal::bad_request(format!("{name}: missing; {what_for}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(field: Field, text: &str) -> Result<Fields, String> {
        let mut fields = Fields::default();
        fields.set(field, text.to_owned()).map_err(|refusal| refusal.message)?;
        Ok(fields)
    }

    #[test]
    fn numbers_that_are_none_name_their_field() {
        for field in [Field::ChunkNumber, Field::TotalChunks, Field::FileSize] {
            for text in ["-1", "-0", "x", "1.5", "1e3", "+1", "0x1", "1 2", "٣", " ", "99999999999999999999999", "-"] {
                let message = set(field, text).unwrap_err();
                assert!(message.starts_with(&format!("{}: ", field.name())), "{text}: {message}");
            }
        }
        assert_eq!(set(Field::ChunkNumber, "1000001").unwrap_err(), "chunkNumber: at most 1000000");
        assert_eq!(set(Field::ChunkNumber, " 1000000\r\n").unwrap().chunk_number, Some(1_000_000));
        assert_eq!(set(Field::TotalChunks, "1000001").unwrap().announced.total_parts, Some(1_000_001));
        assert_eq!(set(Field::FileSize, "0").unwrap().announced.size, Some(0));
    }

    #[test]
    fn empty_fields_are_absent_and_double_ones_are_refused() {
        for field in Field::ALL {
            assert!(set(field, "").unwrap().seen.is_empty());
            let mut fields = set(field, "7").unwrap();
            assert!(fields.set(field, String::new()).is_ok());
            assert!(fields.set(field, "7".to_owned()).unwrap_err().message.starts_with(field.name()));
        }
        assert!(set(Field::UserId, &"é".repeat(MAX_USER_CHARS)).is_ok());
        assert!(set(Field::UserId, &"é".repeat(MAX_USER_CHARS + 1)).is_err());
    }

    #[test]
    fn what_generated_dart_clients_send_is_told_apart() {
        let part = |file_name: Option<&str>, content_type: Option<&str>| Part {
            name: "chunk".to_owned(),
            file_name: file_name.map(str::to_owned),
            content_type: content_type.map(str::to_owned),
        };
        assert!(!is_file(&part(None, None)));
        assert!(!is_file(&part(None, Some("text/plain; charset=utf-8"))));
        assert!(is_file(&part(None, Some("application/octet-stream"))));
        assert!(is_file(&part(Some("blob"), None)));
        assert!(is_file(&part(Some(""), Some("text/plain"))));
    }
}
