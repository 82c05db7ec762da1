//! The one normaliser of names that come from outside (a leaf): file names, tenants, session ids. Whatever
//! passes here is one path segment on every storage and cannot leave its folder.

use std::fmt;

/// The longest name in bytes: what ext4, XFS, APFS and NTFS take.
pub const MAX_NAME_BYTES: usize = 255;
/// The longest session id in bytes; CONTRACTS B says 100 characters.
pub const MAX_SESSION_ID_CHARS: usize = 100;

/// Why a name is refused. The text is for clients; it does not repeat the whole name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("the {0} is empty")]
    Empty(Kind),
    #[error("the {0} is longer than {1}")]
    TooLong(Kind, &'static str),
    #[error("the {0} must be a plain name, not a path")]
    Path(Kind),
    #[error("the {0} must not hold control characters")]
    Control(Kind),
    #[error("the {0} must not start with a dot")]
    Hidden(Kind),
    #[error("the {0} must not start or end with white space, or end with a dot")]
    Edge(Kind),
    #[error("the {0} is reserved on some systems")]
    Reserved(Kind),
}

/// What the name is, for the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    FileName,
    Tenant,
    SessionId,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Kind::FileName => "file name",
            Kind::Tenant => "tenant",
            Kind::SessionId => "session id",
        })
    }
}

/// A file's name as one path segment.
pub fn file_name(raw: &str) -> Result<String, NameError> {
    segment(raw, Kind::FileName)
}

/// A tenant's name (the relay's `societe`) as one path segment.
pub fn tenant(raw: &str) -> Result<String, NameError> {
    segment(raw, Kind::Tenant)
}

/// A session id that a client chose. It becomes part of a file's name, so the same rules hold.
pub fn session_id(raw: &str) -> Result<String, NameError> {
    if raw.chars().count() > MAX_SESSION_ID_CHARS {
        return Err(NameError::TooLong(Kind::SessionId, "100 characters"));
    }
    segment(raw, Kind::SessionId)
}

fn segment(raw: &str, kind: Kind) -> Result<String, NameError> {
    if raw.is_empty() {
        return Err(NameError::Empty(kind));
    }
    if raw.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong(kind, "255 bytes"));
    }
    if raw.contains(['/', '\\']) || raw == "." || raw == ".." || is_drive(raw) {
        return Err(NameError::Path(kind));
    }
    if raw.chars().any(is_control) {
        return Err(NameError::Control(kind));
    }
    if raw.starts_with('.') {
        return Err(NameError::Hidden(kind));
    }
    if raw.trim() != raw || raw.ends_with('.') {
        return Err(NameError::Edge(kind));
    }
    if is_reserved(raw) {
        return Err(NameError::Reserved(kind));
    }
    Ok(raw.to_owned())
}

/// `C:` and `C:name`, which name a drive on Windows and a stream of a file on NTFS.
fn is_drive(raw: &str) -> bool {
    let bytes = raw.as_bytes();
    bytes.len() >= 2 && bytes[1] == b':' && bytes[0].is_ascii_alphabetic()
}

/// C0, DEL, C1, and the invisible characters that turn the direction of text or stand for nothing: with them
/// two names look the same, and `exe.nosj` reads as `json`.
fn is_control(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Names that are devices on Windows whatever their extension.
fn is_reserved(raw: &str) -> bool {
    let stem = raw.split('.').next().unwrap_or(raw).trim_end().to_ascii_uppercase();
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL")
        || (stem.len() == 4
            && (stem.starts_with("COM") || stem.starts_with("LPT"))
            && matches!(stem.as_bytes()[3], b'1'..=b'9'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn takes_names_as_people_write_them() {
        for good in
            ["comptes_2024.json", "Société Générale", "naïve – été.json", "日本語.json", "a b", "x..y", "com10", "1"]
        {
            assert_eq!(file_name(good).as_deref(), Ok(good));
        }
    }

    #[test]
    fn refuses_what_is_not_one_plain_segment() {
        for bad in [
            "",
            ".",
            "..",
            "../a",
            "a/b",
            "/etc/passwd",
            "a\\b",
            "C:\\x",
            "c:x",
            "a\0b",
            "a\nb",
            "a\u{7f}",
            "a\u{202e}b",
            ".hidden",
            " a",
            "a ",
            "a.",
            "NUL",
            "nul.json",
            "com1.txt",
            &"x".repeat(256),
            &"é".repeat(128),
        ] {
            assert!(file_name(bad).is_err(), "{bad:?}");
        }
        assert!(session_id(&"é".repeat(101)).is_err());
        assert!(session_id(&"é".repeat(100)).is_ok());
    }

    proptest! {
        #[test]
        fn what_passes_stays_in_its_folder(raw in "\\PC{0,40}") {
            if let Ok(name) = file_name(&raw) {
                let path = std::path::Path::new("root").join(&name);
                prop_assert_eq!(path.components().count(), 2);
                prop_assert!(path.starts_with("root"));
            }
        }
    }
}
