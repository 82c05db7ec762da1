//! Dialect C, the JSON relay: files of companies in, listed, out, and a WebSocket that tells of them (CONTRACTS C).
//!
//! - `messages`: what goes over the wire, for the document
//! - `listing`, `upload`: the two that stream
//! - [`socket`]: the WebSocket; `opening` is its request
//! - `start_page`: `/`, for programs and for browsers

mod listing;
mod messages;
mod opening;
pub mod socket;
mod start_page;
mod upload;

use std::sync::Arc;

use jiff::Timestamp;
use poem::http::{HeaderMap, Method};
use poem_openapi::param::Path;
use poem_openapi::{OpenApi, Tags};
use serde_json::{Value, json};

use super::{Api, Serving};
use crate::collection::Collection;
use crate::gateway::Gateway;
use crate::http::download::{Download, FileHead};
use crate::http::errors::{PathRule, Shape};
use crate::http::refusal::Refusal;
use crate::http::typed::{Json, Multipart, Refused, StreamedJson, refuse_too_large};
use crate::name;
use crate::time::rfc_3339;
use messages::{
    Deleted, DownloadRefusals, FileList, FileRefusals, JsonDocument, NoRefusals, SocieteRefusals, Societes, Status,
    Synced, UploadForm, UploadRefusals, Uploaded, an_uploaded_file, an_uploaded_societe,
};
use start_page::Start;

pub const API: Api = Api {
    name: "relay",
    is_on: |dialects| dialects.relay.is_some(),
    document: |builder| builder.api::<RelayApi>().edit(messages::examples),
    mount: |routes, serving| {
        routes.api(RelayApi { serving: serving.clone() }).at(
            "/api/files/ws",
            Method::GET,
            opening::Opening(serving.clone()),
        )
    },
};

/// Errors are `{"detail": string}`, with `issues` beside it when a validation said no.
pub const SHAPE: Shape = Shape { paths: &[PathRule::Exact("/"), PathRule::Under("/api/files")], body: error_body };

fn error_body(refusal: &Refusal) -> Value {
    json!({ "detail": refusal.message })
}

struct RelayApi {
    serving: Serving,
}

#[derive(Tags)]
enum RelayTags {
    /// JSON files by company (`societe`): sent in, checked, listed, read and deleted; a WebSocket at `/api/files/ws` tells of
    /// each change.
    #[oai(rename = "Files")]
    Files,
}

/// What one request works on.
struct Target {
    gateway: Arc<Gateway>,
    collection: Arc<Collection>,
}

impl Target {
    fn of(serving: &Serving) -> Result<Self, Refusal> {
        let gateway = serving.gateway.current();
        let collection = gateway.dialects.relay.clone();
        let collection = collection.ok_or_else(|| Refusal::not_found("the relay is switched off"))?;
        Ok(Self { gateway, collection })
    }
}

#[OpenApi(tag = "RelayTags::Files")]
impl RelayApi {
    /// Say what is served
    ///
    /// A browser gets a page that links what there is.
    #[oai(path = "/", method = "get", operation_id = "getStart")]
    async fn start(&self, headers: &HeaderMap) -> Start {
        Start::answer(headers, &self.serving.gateway.current().dialects)
    }

    /// List companies
    ///
    /// Those that have files, and empty folders.
    #[oai(path = "/api/files/societes", method = "get", operation_id = "listSocietes")]
    async fn societes(&self) -> Result<Json<Societes>, Refused<NoRefusals>> {
        let target = Target::of(&self.serving)?;
        let societes = target.gateway.files.tenants(&target.collection).await?;
        Ok(Json(Societes { societes }))
    }

    /// List a company's files
    ///
    /// By name. What other programs put into the company's folder is looked at first.
    #[oai(path = "/api/files/societe/:societe/files", method = "get", operation_id = "listFiles")]
    async fn files(
        &self,
        /// The company.
        #[oai(example = "an_uploaded_societe")]
        societe: Path<String>,
    ) -> Result<StreamedJson<FileList>, Refused<SocieteRefusals>> {
        let target = Target::of(&self.serving)?;
        Ok(listing::files(target, tenant(&societe)?).await?)
    }

    /// Download a file
    ///
    /// Answers ranges, conditional requests and HEAD.
    #[oai(path = "/api/files/download/:societe/:filename", method = "get", operation_id = "downloadFile")]
    async fn download(
        &self,
        /// The company.
        #[oai(example = "an_uploaded_societe")]
        societe: Path<String>,
        /// The file's name.
        #[oai(example = "an_uploaded_file")]
        filename: Path<String>,
        headers: &HeaderMap,
    ) -> Result<Download<JsonDocument>, Refused<DownloadRefusals>> {
        let target = Target::of(&self.serving)?;
        let (tenant, file_name) = (tenant(&societe)?, file_name(&filename)?);
        let file = target.gateway.files.open(&target.collection, &tenant, &file_name).await?;
        let file = file.ok_or_else(|| no_such_file(&tenant, &file_name))?;
        let head = FileHead {
            size: file.record.size,
            etag: &file.record.version,
            modified: file.record.modified,
            content_type: "application/json",
            save_as: Some(&file.record.file_name),
        };
        Ok(Download::answer(headers, &head, |range| file.content.stream(range))?)
    }

    /// Upload a file
    ///
    /// Its name ends in `.json` and its content is JSON in UTF-8: it is checked before anybody can see it. A file of the
    /// same name is replaced at once and whole.
    #[oai(path = "/api/files/upload/:societe", method = "post", operation_id = "uploadFile")]
    async fn upload(
        &self,
        /// The company; made when it is not known yet.
        #[oai(example = "an_uploaded_societe")]
        societe: Path<String>,
        headers: &HeaderMap,
        form: Multipart<UploadForm>,
    ) -> Result<Json<Uploaded>, Refused<UploadRefusals>> {
        let target = Target::of(&self.serving)?;
        refuse_too_large(headers, target.collection.max_file_size)?;
        let record = upload::receive(form, &target, &societe).await?;
        Ok(Json(Uploaded {
            message: "file uploaded".to_owned(),
            societe: record.tenant,
            filename: record.file_name,
            size: record.size,
        }))
    }

    /// Look through a company's folder
    ///
    /// What other programs put there, changed or removed is checked, recorded and announced; `sync_completed` follows.
    #[oai(path = "/api/files/sync/:societe", method = "post", operation_id = "syncSociete")]
    async fn sync(
        &self,
        /// The company.
        #[oai(example = "an_uploaded_societe")]
        societe: Path<String>,
    ) -> Result<Json<Synced>, Refused<SocieteRefusals>> {
        let target = Target::of(&self.serving)?;
        let tenant = tenant(&societe)?;
        let synced = target.gateway.files.sync(&target.collection, &tenant).await?;
        let synced = synced.ok_or_else(|| no_such_societe(&tenant))?;
        let message = "the records say what is in the folder".to_owned();
        Ok(Json(Synced { message, societe: tenant, files_count: synced.files_count }))
    }

    /// Delete a file
    #[oai(path = "/api/files/delete/:societe/:filename", method = "delete", operation_id = "deleteFile")]
    async fn delete(
        &self,
        /// The company.
        #[oai(example = "an_uploaded_societe")]
        societe: Path<String>,
        /// The file's name.
        #[oai(example = "an_uploaded_file")]
        filename: Path<String>,
    ) -> Result<Json<Deleted>, Refused<FileRefusals>> {
        let target = Target::of(&self.serving)?;
        let (tenant, file_name) = (tenant(&societe)?, file_name(&filename)?);
        match target.gateway.files.delete_named(&target.collection, &tenant, &file_name).await? {
            true => Ok(Json(Deleted { message: format!("`{file_name}` of `{tenant}` deleted") })),
            false => Err(no_such_file(&tenant, &file_name))?,
        }
    }

    /// Say how much there is
    #[oai(path = "/api/files/status", method = "get", operation_id = "getStatus")]
    async fn status(&self) -> Result<Json<Status>, Refused<NoRefusals>> {
        let target = Target::of(&self.serving)?;
        let totals = target.gateway.files.totals(&target.collection).await?;
        if totals.tenants == 0 {
            return Ok(Json(Status::no_data()));
        }
        Ok(Json(Status {
            status: "ready".to_owned(),
            message: None,
            societes_count: Some(totals.tenants),
            total_files: Some(totals.files),
            websocket_connections: Some(self.serving.sockets.open() as u64),
            // Clients read a time here, also where no file has one.
            last_update: Some(rfc_3339(totals.last_modified.unwrap_or_else(Timestamp::now))),
        }))
    }
}

fn tenant(societe: &str) -> Result<String, Refusal> {
    name::tenant(societe).map_err(|error| Refusal::bad_request(error.to_string()))
}

fn file_name(filename: &str) -> Result<String, Refusal> {
    name::file_name(filename).map_err(|error| Refusal::bad_request(error.to_string()))
}

fn no_such_societe(societe: &str) -> Refusal {
    Refusal::not_found(format!("there is no company `{societe}`"))
}

fn no_such_file(societe: &str, filename: &str) -> Refusal {
    Refusal::not_found(format!("`{societe}` has no file `{filename}`"))
}
