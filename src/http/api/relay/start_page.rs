//! `/`: what is served, as JSON for programs; browsers get a page that links it.

use std::collections::BTreeMap;

use poem::http::{HeaderMap, HeaderValue, header};
use poem::{IntoResponse, Response};
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiResponse, Object};
use serde::Serialize;
use serde_json::Value;

use crate::gateway::Dialects;

const PAGE: &str = include_str!("start.html");
/// The page needs nothing from anywhere.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// What is served here.
#[derive(Object, Serialize)]
struct Welcome {
    message: String,
    version: String,
    /// What this gateway does, in words.
    features: Vec<String>,
    /// Paths by what they are for.
    endpoints: BTreeMap<String, String>,
}

/// The answer in the form that was asked for.
pub struct Start(Response);

/// What is served beside the relay.
#[derive(Clone, Copy)]
struct Also {
    large: bool,
    chunks: bool,
}

impl Start {
    pub fn answer(request: &HeaderMap, dialects: &Dialects) -> Self {
        let also = Also { large: dialects.fileupload.is_some(), chunks: dialects.chunk_writer.is_some() };
        Self(if prefers_html(request) { page(also) } else { json(also) })
    }
}

/// Browsers name HTML; programs that take anything get JSON.
fn prefers_html(request: &HeaderMap) -> bool {
    let accepted = request.get_all(header::ACCEPT).into_iter().filter_map(|line| line.to_str().ok());
    let mut types = accepted.flat_map(|line| line.split(',')).map(|part| part.split(';').next().unwrap_or(part).trim());
    types.find(|ty| matches!(*ty, "text/html" | "application/json")) == Some("text/html")
}

/// What there is to call, and what it is for.
fn endpoints(also: Also) -> impl Iterator<Item = (&'static str, &'static str)> {
    let Also { large, chunks } = also;
    [
        ("societes", "/api/files/societes", true),
        ("files", "/api/files/societe/{societe}/files", true),
        ("download", "/api/files/download/{societe}/{filename}", true),
        ("upload", "/api/files/upload/{societe}", true),
        ("sync", "/api/files/sync/{societe}", true),
        ("delete", "/api/files/delete/{societe}/{filename}", true),
        ("status", "/api/files/status", true),
        ("websocket", "/api/files/ws", true),
        ("events", "/v1/events", true),
        ("upload_chunk", "/fileupload/upload_chunk/", large),
        ("complete_upload", "/fileupload/complete_upload/", large),
        ("completed_uploads", "/fileupload/list_completed_uploads/", large),
        ("write_chunk", "/write_chunk", chunks),
        ("chunk_writer_page", "/site_chunk_writer.html", chunks),
        ("documentation", "/docs", true),
        ("openapi", "/openapi.json", true),
        ("health", "/healthz", true),
        ("ready", "/readyz", true),
    ]
    .into_iter()
    .filter_map(|(name, path, is_on)| is_on.then_some((name, path)))
}

fn welcome(also: Also) -> Welcome {
    Welcome {
        message: "Tidegate, an upload gateway".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        features: [
            "JSON files by company, checked before anybody can see them",
            "a WebSocket that tells of each change, and again what was missed",
            "downloads with ranges and conditions",
            "folders that other programs write to",
        ]
        .map(str::to_owned)
        .into(),
        endpoints: endpoints(also).map(|(name, path)| (name.to_owned(), path.to_owned())).collect(),
    }
}

/// The answer of a gateway that serves everything, for the document.
pub fn example() -> Value {
    serde_json::to_value(welcome(Also { large: true, chunks: true })).unwrap_or_default()
}

fn json(also: Also) -> Response {
    let text = serde_json::to_vec(&welcome(also)).unwrap_or_default();
    Response::builder().content_type("application/json").header(header::VARY, "Accept").body(text)
}

fn page(also: Also) -> Response {
    // What has a placeholder cannot be followed as it is.
    let links: String = endpoints(also)
        .map(|(name, path)| match path.contains('{') {
            true => format!("<tr><td>{name}</td><td><code>{path}</code></td></tr>\n"),
            false => format!("<tr><td>{name}</td><td><a href=\"{path}\"><code>{path}</code></a></td></tr>\n"),
        })
        .collect();
    let text = PAGE.replace("{version}", env!("CARGO_PKG_VERSION")).replace("{endpoints}", &links);
    let mut response = Response::builder().content_type("text/html; charset=utf-8").body(text);
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

impl IntoResponse for Start {
    fn into_response(self) -> Response {
        self.0
    }
}

impl ApiResponse for Start {
    fn meta() -> MetaResponses {
        let html = MetaMediaType {
            content_type: "text/html",
            schema: MetaSchemaRef::Inline(Box::new(MetaSchema::new("string"))),
        };
        let json = MetaMediaType { content_type: "application/json", schema: Welcome::schema_ref() };
        let response = MetaResponse {
            description: "What there is; a page of links where the request asks for HTML.",
            status: Some(200),
            status_range: None,
            content: vec![json, html],
            headers: vec![],
        };
        MetaResponses { responses: vec![response] }
    }

    fn register(registry: &mut Registry) {
        Welcome::register(registry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_get_json_and_browsers_a_page() {
        for (accept, html) in [
            (None, false),
            (Some("*/*"), false),
            (Some("application/json, text/html"), false),
            (Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), true),
            (Some("text/html;q=0.9"), true),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            }
            assert_eq!(prefers_html(&headers), html, "{accept:?}");
        }
    }
}
