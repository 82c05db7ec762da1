//! `/v1/events`: the event log for those who ask for it in turn, page by page, over all collections. Who wants to be told
//! opens a WebSocket; both read the same log at the same positions.

use std::time::Duration;

use poem_openapi::param::Query;
use poem_openapi::{Enum, Object, OpenApi, Tags};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Api, Serving};
use crate::events::{Event, EventKind, Filter, Page};
use crate::http::openapi::set_response_example;
use crate::http::refusal::Refusal;
use crate::http::typed::{Json, Nullable, Refusals, Refused};
use crate::time::rfc_3339;

pub const API: Api = Api {
    name: "events",
    is_on: |_| true,
    document: |builder| builder.api::<EventsApi>().edit(examples),
    mount: |routes, serving| routes.api(EventsApi { serving: serving.clone() }),
};

/// Kinds by their names, with commas between them.
pub fn kinds(names: &str) -> Result<Vec<EventKind>, Refusal> {
    let known = || EventKind::ALL.map(EventKind::as_str).join(", ");
    let parse = |name: &str| {
        EventKind::parse(name.trim()).ok_or_else(|| {
            Refusal::bad_request(format!("type: there is no kind of event `{name}`; there are {}", known()))
        })
    };
    names.split(',').filter(|name| !name.trim().is_empty()).map(parse).collect()
}

struct EventsApi {
    serving: Serving,
}

#[derive(Tags)]
enum EventTags {
    /// What happened to files, in order.
    Events,
}

/// What happened.
#[derive(Debug, Clone, Copy, Enum, Serialize)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
enum EventType {
    FileUploaded,
    FileDeleted,
    SyncCompleted,
    FileAppended,
    FileCleared,
}

impl From<EventKind> for EventType {
    fn from(kind: EventKind) -> Self {
        match kind {
            EventKind::FileUploaded => Self::FileUploaded,
            EventKind::FileDeleted => Self::FileDeleted,
            EventKind::SyncCompleted => Self::SyncCompleted,
            EventKind::FileAppended => Self::FileAppended,
            EventKind::FileCleared => Self::FileCleared,
        }
    }
}

impl From<EventType> for EventKind {
    fn from(kind: EventType) -> Self {
        match kind {
            EventType::FileUploaded => Self::FileUploaded,
            EventType::FileDeleted => Self::FileDeleted,
            EventType::SyncCompleted => Self::SyncCompleted,
            EventType::FileAppended => Self::FileAppended,
            EventType::FileCleared => Self::FileCleared,
        }
    }
}

/// An entry of the event log.
#[derive(Object, Serialize)]
#[oai(rename = "Event")]
struct EventEntry {
    /// Its position in the log: grows from each to the next, and is never given twice.
    id: u64,
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    kind: EventType,
    collection: String,
    /// The owner within the collection; empty where the collection has none.
    tenant: String,
    /// Null for `sync_completed`.
    file_name: Nullable<String>,
    /// The version that was stored, the ETag of its download.
    version: Nullable<String>,
    /// In bytes.
    size: Nullable<u64>,
    /// How many files the tenant has; for `sync_completed` alone.
    files_count: Nullable<u64>,
    /// RFC 3339, in UTC.
    timestamp: String,
}

impl EventEntry {
    fn of(event: &Event) -> Self {
        let Event { position, event } = event;
        Self {
            id: *position,
            kind: event.kind.into(),
            collection: event.collection.clone(),
            tenant: event.tenant.clone(),
            file_name: Nullable(Some(event.file_name.clone()).filter(|name| !name.is_empty())),
            version: Nullable(event.version.clone()),
            size: Nullable(event.size),
            files_count: Nullable(event.files_count),
            timestamp: rfc_3339(event.at),
        }
    }
}

/// What the log has after a position.
#[derive(Object, Serialize)]
struct EventPage {
    /// In order.
    events: Vec<EventEntry>,
    /// What to ask after next time.
    next: u64,
    /// The position of the log's last event.
    head: u64,
    /// Some of what happened after the position cannot be told any more: read the whole state anew, then ask after `next`.
    reload: bool,
}

/// A problem document (RFC 9457).
#[derive(Object)]
struct Problem {
    #[oai(rename = "type")]
    kind: String,
    title: String,
    status: u16,
    detail: String,
}

struct EventRefusals;

impl Refusals for EventRefusals {
    type Body = Problem;
    const CONTENT_TYPE: &'static str = "application/problem+json";
    const ANSWERS: &'static [(u16, &'static str)] =
        &[(400, "A parameter says what cannot be."), (503, "Not available at this moment: try again later.")];
}

#[OpenApi(tag = "EventTags::Events")]
impl EventsApi {
    /// Read events
    ///
    /// Those after a position, at most `limit`; ask again after `next`. With `wait` the answer is held back until there is
    /// something to tell.
    #[oai(path = "/v1/events", method = "get", operation_id = "listEvents")]
    async fn list(
        &self,
        /// The position after which to read; 0, the beginning of the log, without it.
        #[oai(default)]
        after: Query<u64>,
        /// The most events in one answer.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "256")))]
        limit: Query<u16>,
        /// Only of these collections; repeat it for several.
        #[oai(default)]
        collection: Query<Vec<String>>,
        /// Only of this owner within a collection, the relay's `societe`.
        tenant: Query<Option<String>>,
        /// Only of these kinds; repeat it for several.
        #[oai(name = "type", default)]
        kind: Query<Vec<EventType>>,
        /// For how many seconds to wait for an event where there is none.
        #[oai(default, validator(maximum(value = "30")))]
        wait: Query<u64>,
    ) -> Result<Json<EventPage>, Refused<EventRefusals>> {
        let filter = Filter {
            collections: collection.0,
            tenant: tenant.0,
            kinds: kind.0.into_iter().map(EventKind::from).collect(),
        };
        let events = self.serving.gateway.current().events.clone();
        let (after, limit) = (after.0, usize::from(limit.0));
        let waiting = events.page(after, filter, limit, Duration::from_secs(wait.0));
        let page = tokio::select! {
            page = waiting => page?,
            // A gateway that drains waits for nobody who waits.
            () = self.serving.draining.cancelled() => Page { entries: Vec::new(), next: after, reload: false },
        };
        Ok(Json(EventPage {
            events: page.entries.iter().map(|entry| EventEntry::of(entry.event())).collect(),
            next: page.next,
            head: events.head(),
            reload: page.reload,
        }))
    }
}

fn default_limit() -> u16 {
    100
}

fn examples(document: &mut Value) {
    let event = json!({
        "id": 42, "type": "file_uploaded", "collection": "societes", "tenant": "Société Générale",
        "file_name": "comptes_2024.json", "version": "0199c3a2f5d27b3e9a4c1d2e3f405162", "size": 50, "files_count": null,
        "timestamp": "2026-01-02T03:04:05.678+00:00",
    });
    let page = json!({ "events": [event], "next": 42, "head": 42, "reload": false });
    let refused = json!({
        "type": "about:blank", "title": "Bad Request", "status": 400,
        "detail": "failed to parse parameter `after`: Type \"integer_uint64\" expects an input value.",
    });
    set_response_example(document, "get", "/v1/events", 200, page);
    set_response_example(document, "get", "/v1/events", 400, refused);
}
