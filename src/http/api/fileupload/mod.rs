//! Dialect B, the upload of large files in numbered chunks (CONTRACTS B). How the fields of a chunk are read is the
//! matter of `chunk`; receiving, completing and assembling are [`crate::upload`]'s.

mod chunk;
mod listing;
mod messages;

use std::sync::Arc;

use poem::http::HeaderMap;
use poem_openapi::param::Path;
use poem_openapi::{OpenApi, Tags};
use serde_json::{Value, json};

use self::chunk::ChunkForm;
use self::messages::{
    AssemblyStatus, ChunkRefusals, CompleteRefusals, CompleteUpload, CompletedUpload, ListRefusals, SessionRefusals,
    Status,
};
use crate::auth::Principal;
use crate::collection::Collection;
use crate::gateway::{Gateway, GatewayHandle};
use crate::http::api::Api;
use crate::http::errors::{PathRule, Shape};
use crate::http::refusal::Refusal;
use crate::http::typed::{Json, JsonFormOrMultipart, Multipart, Refused, Slashed, StreamedJson, refuse_too_large};
use crate::upload::UploadError;
use crate::upload::port::Announced;

/// Errors are `{"status": "error", "message": string}`, with `missing` beside it where chunks are.
pub const SHAPE: Shape = Shape { paths: &[PathRule::Under("/fileupload")], body: error_body };

pub const API: Api = Api {
    name: "fileupload",
    is_on: |dialects| dialects.fileupload.is_some(),
    document: |builder| builder.api::<Slashed<FileUploadApi>>().edit(messages::add_examples),
    mount: |routes, serving| routes.api(Slashed(FileUploadApi { gateway: serving.gateway.clone() })),
};

fn error_body(refusal: &Refusal) -> Value {
    json!({ "status": "error", "message": refusal.message })
}

struct FileUploadApi {
    gateway: GatewayHandle,
}

#[derive(Tags)]
enum FileUploadTags {
    /// Large files in numbered chunks: send the chunks in any order and in parallel, complete the upload, ask after
    /// its assembly.
    #[oai(rename = "File upload")]
    FileUpload,
}

/// What one request works on, and for whom.
struct Target {
    gateway: Arc<Gateway>,
    collection: Arc<Collection>,
    principal: Principal,
}

impl FileUploadApi {
    fn target(&self) -> Result<Target, Refusal> {
        let gateway = self.gateway.current();
        let collection = gateway.dialects.fileupload.clone();
        let collection = collection.ok_or_else(|| Refusal::not_found("the upload in chunks is switched off"))?;
        Ok(Target { gateway, collection, principal: Principal::anonymous() })
    }
}

#[OpenApi(prefix_path = "/fileupload", tag = "FileUploadTags::FileUpload")]
impl FileUploadApi {
    /// Upload a chunk
    ///
    /// The first chunk of an unknown `sessionId` begins the upload. Chunks are numbered from 0 or from 1 and come in any
    /// order, in parallel; one that is sent again replaces the one before. The fields stand in any order.
    #[oai(path = "/upload_chunk", method = "post", operation_id = "uploadChunk")]
    async fn upload_chunk(
        &self,
        headers: &HeaderMap,
        form: Multipart<ChunkForm>,
    ) -> Result<Json<Status>, Refused<ChunkRefusals>> {
        let target = self.target()?;
        refuse_too_large(headers, target.collection.max_file_size)?;
        let intake = target.gateway.uploads.part(&target.principal, &target.collection);
        chunk::receive(form, intake).await?;
        Ok(Json(Status::new("chunk uploaded")))
    }

    /// Complete an upload
    ///
    /// All chunks have been sent: the upload takes no more of them, and is assembled. Completing it once more
    /// changes nothing.
    #[oai(path = "/complete_upload", method = "post", operation_id = "completeUpload")]
    async fn complete_upload(
        &self,
        body: JsonFormOrMultipart<CompleteUpload>,
    ) -> Result<Json<Status>, Refused<CompleteRefusals>> {
        let target = self.target()?;
        let session = body.0.session_id.0;
        if session.is_empty() {
            return Err(Refusal::bad_request("sessionId: missing; it says which upload is complete"))?;
        }
        let file_name = body.0.file_name.filter(|name| !name.is_empty());
        let announced = Announced { file_name, ..Announced::default() };
        let completed =
            target.gateway.uploads.complete(&target.principal, &target.collection, &session, &announced).await;
        completed.map_err(|error| name_the_session(error, &session))?;
        Ok(Json(Status::new("file assembly task started")))
    }

    /// Get an upload's status
    ///
    /// `pending` while chunks are received, `in_progress` from completion on, then `completed`, or `failed` with
    /// the reason in `message`.
    #[oai(path = "/assembly_status/:session_id", method = "get", operation_id = "getAssemblyStatus")]
    async fn assembly_status(
        &self,
        /// The id that the client chose.
        session_id: Path<String>,
    ) -> Result<Json<AssemblyStatus>, Refused<SessionRefusals>> {
        let target = self.target()?;
        let status = target.gateway.uploads.status(&target.principal, &target.collection, &session_id).await;
        Ok(Json(status.map_err(|error| name_the_session(error, &session_id))?.into()))
    }

    /// List completed uploads
    ///
    /// Oldest first.
    #[oai(path = "/list_completed_uploads", method = "get", operation_id = "listCompletedUploads")]
    async fn list_completed_uploads(&self) -> Result<StreamedJson<Vec<CompletedUpload>>, Refused<ListRefusals>> {
        let target = self.target()?;
        Ok(listing::completed(target.gateway.uploads.clone(), target.collection).await?)
    }

    /// Delete an upload
    ///
    /// The published file, the chunks and the record go, whatever state the upload is in.
    #[oai(path = "/delete_upload/:session_id", method = "delete", operation_id = "deleteUpload")]
    async fn delete_upload(
        &self,
        /// The id that the client chose.
        session_id: Path<String>,
    ) -> Result<Json<Status>, Refused<SessionRefusals>> {
        let target = self.target()?;
        let deleted = target.gateway.uploads.delete(&target.principal, &target.collection, &session_id).await;
        deleted.map_err(|error| name_the_session(error, &session_id))?;
        Ok(Json(Status::new("upload deleted")))
    }
}

/// The client asked by id, so it is told by id.
fn name_the_session(error: UploadError, session_id: &str) -> Refusal {
    match error {
        UploadError::Unknown => Refusal::not_found(format!("there is no upload with the session id `{session_id}`")),
        error => error.into(),
    }
}
