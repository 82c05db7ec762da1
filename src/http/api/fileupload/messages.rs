//! The bodies of dialect B, and how the document shows them.

use poem_openapi::Object;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::http::api::refusals::{DENIED, FileIssue};
use crate::http::openapi::{set_request_example, set_response_example};
use crate::http::typed::{Nullable, Refusals, TextOrNumber};
use crate::time::rfc_3339;
use crate::upload::Status as UploadStatus;
use crate::upload::port::{UploadRow, UploadState};

/// What was done.
#[derive(Debug, Object, Serialize)]
pub struct Status {
    pub status: String,
}

impl Status {
    pub fn new(status: &str) -> Self {
        Self { status: status.to_owned() }
    }
}

/// Which upload is complete.
#[derive(Debug, Object, Deserialize)]
#[serde(rename_all = "camelCase")]
#[oai(rename_all = "camelCase")]
pub struct CompleteUpload {
    /// The id that the chunks were sent with; in JSON a number is taken too.
    pub session_id: TextOrNumber,
    /// The file's name, where no chunk has told it.
    #[serde(default)]
    pub file_name: Option<String>,
}

/// Where an upload is on its way.
#[derive(Debug, Object, Serialize)]
pub struct AssemblyStatus {
    /// `pending`, `in_progress`, `completed` or `failed`.
    pub status: String,
    /// Why it failed; only there if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What a check found wrong with the file; only there if one said no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issues: Option<Vec<FileIssue>>,
}

impl From<UploadStatus> for AssemblyStatus {
    fn from(upload: UploadStatus) -> Self {
        let status = match upload.state {
            UploadState::Receiving => "pending",
            UploadState::Received => "in_progress",
            UploadState::Stored => "completed",
            UploadState::Rejected | UploadState::Failed | UploadState::Expired | UploadState::Aborted => "failed",
        };
        let message = (status == "failed").then(|| upload.reason.unwrap_or_else(|| upload.state.as_str().to_owned()));
        let issues = (!upload.issues.is_empty()).then(|| upload.issues.into_iter().map(FileIssue::from).collect());
        Self { status: status.to_owned(), message, issues }
    }
}

/// An upload whose file is published.
#[derive(Debug, Object, Serialize)]
pub struct CompletedUpload {
    /// The id that the client chose.
    pub session_id: String,
    /// The published file's name.
    pub file_name: String,
    /// What the client said as `userId`.
    pub user_id: Nullable<String>,
    pub total_chunks: u32,
    /// When the file was published, in ISO 8601.
    pub date_uploaded: String,
    /// Bytes.
    pub file_size: u64,
}

impl From<UploadRow> for CompletedUpload {
    fn from(row: UploadRow) -> Self {
        let path = row.path.unwrap_or_default();
        Self {
            session_id: row.key.session,
            file_name: path.rsplit('/').next().unwrap_or_default().to_owned(),
            user_id: Nullable(row.announced.user),
            total_chunks: row.parts,
            date_uploaded: rfc_3339(row.stored_at.unwrap_or(row.touched)),
            file_size: row.stored_size.unwrap_or_default(),
        }
    }
}

/// Why a request was refused.
#[derive(Debug, Object)]
pub struct FileUploadError {
    /// Always `error`.
    pub status: String,
    /// For people.
    pub message: String,
    /// With 409 at completion: the numbers of chunks that are missing, at most the first 1000.
    pub missing: Option<Vec<u32>>,
}

const INTERNAL: (u16, &str) = (500, "The gateway failed; its log says more.");
const UNAVAILABLE: (u16, &str) = (503, "Not at this moment; try again later.");

pub struct ChunkRefusals;

impl Refusals for ChunkRefusals {
    type Body = FileUploadError;
    const ANSWERS: &'static [(u16, &'static str)] = &[
        (400, "A field is missing or says what cannot be; the message names it."),
        DENIED,
        (
            409,
            "The upload takes no more chunks, what is said contradicts an earlier chunk, or another upload has the path.",
        ),
        (413, "The file would be larger than is allowed."),
        (415, "The body is not multipart/form-data."),
        INTERNAL,
        UNAVAILABLE,
        (507, "There is no room left to store the chunk."),
    ];
}

pub struct CompleteRefusals;

impl Refusals for CompleteRefusals {
    type Body = FileUploadError;
    const ANSWERS: &'static [(u16, &'static str)] = &[
        (400, "`sessionId` is missing or cannot be one, or the body cannot be read."),
        DENIED,
        (404, "There is no such upload."),
        (
            409,
            "Chunks are missing or have another length than was announced, and the upload stays open; or it has ended.",
        ),
        (413, "The body is too large."),
        INTERNAL,
        UNAVAILABLE,
        (507, "There is no room left; the upload stays open."),
    ];
}

pub struct SessionRefusals;

impl Refusals for SessionRefusals {
    type Body = FileUploadError;
    const ANSWERS: &'static [(u16, &'static str)] =
        &[(400, "This cannot be a session id."), (404, "There is no such upload."), INTERNAL, UNAVAILABLE];
}

pub struct ListRefusals;

impl Refusals for ListRefusals {
    type Body = FileUploadError;
    const ANSWERS: &'static [(u16, &'static str)] = &[INTERNAL, UNAVAILABLE];
}

/// What the gateway really answers; the tests compare.
pub fn add_examples(document: &mut Value) {
    const CHUNK: &str = "/fileupload/upload_chunk/";
    const COMPLETE: &str = "/fileupload/complete_upload/";
    const STATUS: &str = "/fileupload/assembly_status/{session_id}/";
    const LIST: &str = "/fileupload/list_completed_uploads/";
    const DELETE: &str = "/fileupload/delete_upload/{session_id}/";
    let refused = |message: &str| json!({ "status": "error", "message": message });

    set_response_example(document, "post", CHUNK, 200, json!({ "status": "chunk uploaded" }));
    let missing = "chunkNumber: missing; it says where in the file the chunk belongs";
    set_response_example(document, "post", CHUNK, 400, refused(missing));
    let late = "the upload is complete or ended and takes no more bytes";
    set_response_example(document, "post", CHUNK, 409, refused(late));

    set_request_example(document, "post", COMPLETE, json!({ "sessionId": "1731", "fileName": "film.mp4" }));
    set_response_example(document, "post", COMPLETE, 200, json!({ "status": "file assembly task started" }));
    set_response_example(document, "post", COMPLETE, 404, refused("there is no upload with the session id `1731`"));
    let missing = json!({ "status": "error", "message": "2 of the parts are missing", "missing": [3, 7] });
    set_response_example(document, "post", COMPLETE, 409, missing);

    set_response_example(document, "get", STATUS, 200, json!({ "status": "in_progress" }));
    set_response_example(document, "get", STATUS, 404, refused("there is no upload with the session id `1731`"));

    let listed = json!([{
        "session_id": "1731",
        "file_name": "film_1731.mp4",
        "user_id": null,
        "total_chunks": 24,
        "date_uploaded": "2026-11-20T19:04:12.345+00:00",
        "file_size": 25_000_000,
    }]);
    set_response_example(document, "get", LIST, 200, listed);

    set_response_example(document, "delete", DELETE, 200, json!({ "status": "upload deleted" }));
    set_response_example(document, "delete", DELETE, 404, refused("there is no upload with the session id `1731`"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_its_status_and_only_failures_a_message() {
        for (state, status) in [
            (UploadState::Receiving, "pending"),
            (UploadState::Received, "in_progress"),
            (UploadState::Stored, "completed"),
            (UploadState::Rejected, "failed"),
            (UploadState::Failed, "failed"),
            (UploadState::Expired, "failed"),
            (UploadState::Aborted, "failed"),
        ] {
            for reason in [None, Some("the disk is gone".to_owned())] {
                let has_reason = reason.is_some();
                let answer = AssemblyStatus::from(UploadStatus { state, reason, issues: Vec::new() });
                assert_eq!(answer.status, status);
                assert_eq!(answer.message.is_some(), status == "failed", "{state:?}");
                assert_eq!(answer.message.as_deref() == Some("the disk is gone"), status == "failed" && has_reason);
            }
        }
    }
}
