//! What goes over the relay's wire, as the document shows it, with real examples.

use poem_openapi::Object;
use serde::Serialize;
use serde_json::{Value, json};

use super::start_page;
use crate::files::port::FileRecord;
use crate::http::api::refusals::{DENIED, FileIssue};
use crate::http::download::FileKind;
use crate::http::openapi::set_response_example;
use crate::http::typed::{FieldKind, FormField, FormSchema, Nullable, Refusals};
use crate::time::rfc_3339;

/// The companies that there are.
#[derive(Object, Serialize)]
pub struct Societes {
    pub societes: Vec<String>,
}

/// A company's files, by name.
#[derive(Object, Serialize)]
pub struct FileList {
    pub societe: String,
    pub files: Vec<FileEntry>,
}

/// A file, as it is listed.
#[derive(Object, Serialize)]
pub struct FileEntry {
    pub filename: String,
    pub societe: String,
    /// In bytes.
    pub size: u64,
    /// RFC 3339, in UTC.
    pub last_modified: String,
    /// The name up to its first `_`; `unknown` where it has none.
    pub type_data: String,
    /// What follows the name's last `_`; `unknown` where it has none.
    pub annee: String,
    /// SHA-256 of the content in hexadecimal; null where it is not computed.
    pub checksum: Nullable<String>,
}

impl FileEntry {
    pub fn of(record: &FileRecord) -> Self {
        let (type_data, annee) = type_and_year(&record.file_name);
        Self {
            filename: record.file_name.clone(),
            societe: record.tenant.clone(),
            size: record.size,
            last_modified: rfc_3339(record.modified),
            type_data: type_data.to_owned(),
            annee: annee.to_owned(),
            checksum: Nullable(record.sha256.as_ref().map(|digest| hex(digest))),
        }
    }
}

/// `comptes_2024.json` holds `comptes` of `2024`.
fn type_and_year(file_name: &str) -> (&str, &str) {
    let stem = file_name.strip_suffix(".json").unwrap_or(file_name);
    match (stem.split_once('_'), stem.rsplit_once('_')) {
        (Some((type_data, _)), Some((_, annee))) => (type_data, annee),
        _ => ("unknown", "unknown"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file was stored.
#[derive(Object, Serialize)]
pub struct Uploaded {
    pub message: String,
    pub societe: String,
    pub filename: String,
    /// In bytes.
    pub size: u64,
}

/// A company's folder was looked through.
#[derive(Object, Serialize)]
pub struct Synced {
    pub message: String,
    pub societe: String,
    /// How many files the company has now.
    pub files_count: u64,
}

/// A file was deleted.
#[derive(Object, Serialize)]
pub struct Deleted {
    pub message: String,
}

/// How much there is. With no data at all there are `status` and `message` alone; else all but `message`.
#[derive(Object, Serialize, Default)]
#[oai(rename = "RelayStatus", skip_serializing_if_is_none)]
pub struct Status {
    /// `ready` or `no_data`.
    pub status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub societes_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_files: Option<u64>,
    /// Sockets that are open now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub websocket_connections: Option<u64>,
    /// When the newest file was stored; RFC 3339, in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_update: Option<String>,
}

impl Status {
    pub fn no_data() -> Self {
        let message = "nothing has been uploaded yet".to_owned();
        Self { status: "no_data".to_owned(), message: Some(message), ..Self::default() }
    }
}

/// The form of an upload.
pub struct UploadForm;

impl FormSchema for UploadForm {
    const FIELDS: &'static [FormField] = &[FormField {
        name: "file",
        description: "The file, with its name. One a request.",
        kind: FieldKind::File,
        required: true,
    }];
}

/// A file of the relay. As text, which generated clients can give out; as a file they could not.
pub struct JsonDocument;

impl FileKind for JsonDocument {
    const CONTENT_TYPE: &'static str = "application/json";
    const SCHEMA: (&'static str, &'static str) = ("string", "");
}

/// Why a request was refused.
#[derive(Object)]
pub struct RelayError {
    pub detail: String,
    /// What a validation found wrong with the file; with status 422 alone.
    pub issues: Option<Vec<FileIssue>>,
}

const BAD_NAME: (u16, &str) = (400, "A name that cannot be one.");
const NO_SOCIETE: (u16, &str) = (404, "There is no such company.");
const NO_FILE: (u16, &str) = (404, "There is no such file.");

/// Operations that take nothing, so that nothing of it can be wrong.
pub struct NoRefusals;

impl Refusals for NoRefusals {
    type Body = RelayError;
    const ANSWERS: &'static [(u16, &'static str)] = &[(503, "Not available at this moment: try again later.")];
}

/// Operations on a company.
pub struct SocieteRefusals;

impl Refusals for SocieteRefusals {
    type Body = RelayError;
    const ANSWERS: &'static [(u16, &'static str)] = &[BAD_NAME, NO_SOCIETE];
}

/// Operations on a file.
pub struct FileRefusals;

impl Refusals for FileRefusals {
    type Body = RelayError;
    const ANSWERS: &'static [(u16, &'static str)] = &[BAD_NAME, NO_FILE];
}

pub struct DownloadRefusals;

impl Refusals for DownloadRefusals {
    type Body = RelayError;
    const ANSWERS: &'static [(u16, &'static str)] = &[
        BAD_NAME,
        NO_FILE,
        (412, "The file is another version than the request names."),
        (416, "The range lies outside of the file."),
    ];
}

pub struct UploadRefusals;

impl Refusals for UploadRefusals {
    type Body = RelayError;
    const ANSWERS: &'static [(u16, &'static str)] = &[
        (400, "A name that cannot be one or does not end in `.json`, or a form that is broken off."),
        DENIED,
        (409, "Something else stands in the file's place, put there by another program."),
        (413, "The file is larger than this gateway takes."),
        (415, "The request is no `multipart/form-data`."),
        (422, "The form has no file, or its content was refused: `issues` says why."),
        (507, "There is no room left."),
    ];
}

pub fn an_uploaded_societe() -> String {
    "Société Générale".to_owned()
}

pub fn an_uploaded_file() -> String {
    "comptes_2024.json".to_owned()
}

/// What the gateway answers to the requests of the examples; a test asks it.
pub fn examples(document: &mut Value) {
    let (societe, filename) = (an_uploaded_societe(), an_uploaded_file());
    let entry = json!({
        "filename": filename, "societe": societe, "size": 50, "last_modified": "2026-01-02T03:04:05.678+00:00",
        "type_data": "comptes", "annee": "2024",
        "checksum": "21048c97971b5492f820880538307210f9c2662ec327cb75f427ba48a8edfa94",
    });
    let no_file = json!({ "detail": format!("`{societe}` has no file `{filename}`") });
    let no_societe = json!({ "detail": format!("there is no company `{societe}`") });
    let bad_name = json!({ "detail": "the file name must be a plain name, not a path" });
    let download = "/api/files/download/{societe}/{filename}";
    let upload = "/api/files/upload/{societe}";
    let delete = "/api/files/delete/{societe}/{filename}";
    let found = "expected a value, found `}` at line 1, column 11 (byte 10)";
    let issue = json!({ "path": "1:11", "code": "json-syntax", "message": found });
    for (method, path, status, example) in [
        ("get", "/api/files/societes", 200, json!({ "societes": [societe] })),
        ("get", "/api/files/societe/{societe}/files", 200, json!({ "societe": societe, "files": [entry] })),
        ("get", "/api/files/societe/{societe}/files", 404, no_societe.clone()),
        ("get", download, 200, json!("{\"societe\": \"Société Générale\", \"annee\": 2024}")),
        ("get", download, 400, bad_name.clone()),
        ("get", download, 404, no_file.clone()),
        ("get", download, 416, json!({ "detail": "the range lies outside of the file's 50 bytes" })),
        (
            "post",
            upload,
            200,
            json!({ "message": "file uploaded", "societe": societe, "filename": filename, "size": 50 }),
        ),
        ("post", upload, 400, json!({ "detail": "file name: it must end in `.json`" })),
        ("post", upload, 422, json!({ "detail": format!("the file was refused: 1:11: {found}"), "issues": [issue] })),
        (
            "post",
            "/api/files/sync/{societe}",
            200,
            json!({ "message": "the records say what is in the folder", "societe": societe, "files_count": 1 }),
        ),
        ("post", "/api/files/sync/{societe}", 404, no_societe),
        ("delete", delete, 200, json!({ "message": format!("`{filename}` of `{societe}` deleted") })),
        ("delete", delete, 404, no_file),
        (
            "get",
            "/api/files/status",
            200,
            json!({
                "status": "ready", "societes_count": 1, "total_files": 1, "websocket_connections": 0,
                "last_update": "2026-01-02T03:04:05.678+00:00",
            }),
        ),
    ] {
        set_response_example(document, method, path, status, example);
    }
    // Its other form is a page.
    document["paths"]["/"]["get"]["responses"]["200"]["content"]["application/json"]["example"] = start_page::example();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_and_year_stand_in_the_name() {
        for (name, expected) in [
            ("comptes_2024.json", ("comptes", "2024")),
            ("a_b_c.json", ("a", "c")),
            ("comptes.json", ("unknown", "unknown")),
            ("_2024.json", ("", "2024")),
            ("bilan consolidé_été 2024.json", ("bilan consolidé", "été 2024")),
            ("a_b.c.json", ("a", "b.c")),
        ] {
            assert_eq!(type_and_year(name), expected, "{name}");
        }
    }
}
