//! The list of a company's files, written page by page: what is held in memory is one page, however long the list.

use std::io;

use bytes::Bytes;
use futures_util::stream;
use poem::Body;

use super::messages::{FileEntry, FileList};
use super::{Target, no_such_societe};
use crate::fault::Fault;
use crate::files::port::{FileRecord, Page};
use crate::http::refusal::Refusal;
use crate::http::typed::StreamedJson;

/// Records that are read at once: about 100 kB of JSON.
const PAGE: usize = 500;

/// What is still to be told.
struct Rest {
    target: Target,
    societe: String,
    after: String,
}

/// Fails where the first page cannot be had; what fails later breaks the answer off, so that no client takes a part for
/// the whole.
pub async fn files(target: Target, societe: String) -> Result<StreamedJson<FileList>, Refusal> {
    let page = page(&target, &societe, None).await?.ok_or_else(|| no_such_societe(&societe))?;
    let mut text = beginning(&societe);
    add_rows(&mut text, &page.rows);
    let Some(after) = page.next else {
        text.extend_from_slice(END);
        return Ok(StreamedJson::new(Body::from_vec(text)));
    };
    let first = stream::once(async { Ok(Bytes::from(text)) });
    let rest = stream::try_unfold(Some(Rest { target, societe, after }), |rest| async {
        match rest {
            Some(rest) => rest.next_page().await.map(Some),
            None => Ok(None),
        }
    });
    Ok(StreamedJson::new(Body::from_bytes_stream(stream::StreamExt::chain(first, rest))))
}

impl Rest {
    async fn next_page(self) -> io::Result<(Bytes, Option<Self>)> {
        let page = page(&self.target, &self.societe, Some(&self.after)).await.map_err(|fault| {
            tracing::error!(%fault, societe = self.societe, "a list of files breaks off");
            io::Error::other(fault)
        })?;
        let mut text = Vec::new();
        let mut after = None;
        if let Some(page) = page.filter(|page| !page.rows.is_empty()) {
            text.push(b',');
            add_rows(&mut text, &page.rows);
            after = page.next;
        }
        if after.is_none() {
            text.extend_from_slice(END);
        }
        let rest = after.map(|after| Self { after, ..self });
        Ok((Bytes::from(text), rest))
    }
}

async fn page(target: &Target, societe: &str, after: Option<&str>) -> Result<Option<Page<FileRecord>>, Fault> {
    target.gateway.files.list(&target.collection, societe, after, PAGE).await
}

const END: &[u8] = b"]}";

/// [`FileList`] up to its first file.
fn beginning(societe: &str) -> Vec<u8> {
    format!("{{\"societe\":{},\"files\":[", serde_json::Value::from(societe)).into_bytes()
}

fn add_rows(text: &mut Vec<u8>, rows: &[FileRecord]) {
    for (index, record) in rows.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        // Strings and numbers into memory: neither can fail.
        let _ = serde_json::to_writer(&mut *text, &FileEntry::of(record));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::files::port::Identity;

    #[test]
    fn the_pieces_make_one_document() {
        let record = |file_name: &str| FileRecord {
            collection: "societes".into(),
            tenant: "A \"b\"".into(),
            file_name: file_name.into(),
            storage: "files".into(),
            path: String::new(),
            version: String::new(),
            size: 7,
            crc: 0,
            sha256: Some([0xab; 32]),
            modified: "2026-01-02T03:04:05.6789Z".parse().unwrap(),
            identity: Identity::Object { size: 7, etag: String::new(), modified: 0 },
        };
        let mut text = beginning("A \"b\"");
        add_rows(&mut text, &[record("comptes_2024.json"), record("x.json")]);
        text.extend_from_slice(END);
        let document: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(document["societe"], "A \"b\"");
        assert_eq!(
            document["files"][0],
            json!({
                "filename": "comptes_2024.json", "societe": "A \"b\"", "size": 7,
                "last_modified": "2026-01-02T03:04:05.678+00:00",
                "type_data": "comptes", "annee": "2024", "checksum": "ab".repeat(32),
            })
        );
        assert_eq!(document["files"][1]["type_data"], "unknown");
    }
}
