//! The bodies of the administration's answers, which the operator's socket gives too.

use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::follow_ups::HookState;
use crate::follow_ups::port::{FailedAttempt, FollowUp, FollowUpState, SwitchedOff};
use crate::http::openapi::set_response_example;
use crate::http::typed::{Nullable, Refusals};
use crate::time::rfc_3339;

/// How it stands with a follow-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize, Deserialize)]
#[oai(rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum FollowUpStatus {
    /// It is to be tried, now or later.
    Owed,
    /// An attempt is under way.
    Running,
    /// It was carried out.
    Done,
    /// No attempt succeeded: a dead letter.
    Dead,
}

impl From<FollowUpState> for FollowUpStatus {
    fn from(state: FollowUpState) -> Self {
        match state {
            FollowUpState::Owed => Self::Owed,
            FollowUpState::Running => Self::Running,
            FollowUpState::Done => Self::Done,
            FollowUpState::Dead => Self::Dead,
        }
    }
}

impl From<FollowUpStatus> for FollowUpState {
    fn from(status: FollowUpStatus) -> Self {
        match status {
            FollowUpStatus::Owed => Self::Owed,
            FollowUpStatus::Running => Self::Running,
            FollowUpStatus::Done => Self::Done,
            FollowUpStatus::Dead => Self::Dead,
        }
    }
}

/// The hooks that follow publications up.
#[derive(Debug, Object, Serialize, Deserialize)]
pub struct Hooks {
    /// By name.
    pub hooks: Vec<Hook>,
}

/// A hook after publication, and how many follow-ups it has in each state.
#[derive(Debug, Object, Serialize, Deserialize)]
pub struct Hook {
    /// Collection and plugin, as `societes/erp`.
    pub hook: String,
    /// Whether the configuration has it. What is owed to one that it has not becomes a dead letter.
    pub configured: bool,
    pub owed: u64,
    pub running: u64,
    /// Within the time that they are kept for (`hooks.keep_done`).
    pub done: u64,
    pub dead: u64,
    /// Set when the counterpart wants no more of it; a retry switches it on again.
    pub switched_off: Nullable<SwitchedOffHook>,
}

/// Why and since when a hook is switched off.
#[derive(Debug, Object, Serialize, Deserialize)]
pub struct SwitchedOffHook {
    pub reason: String,
    /// RFC 3339, in UTC.
    pub since: String,
}

impl From<SwitchedOff> for SwitchedOffHook {
    fn from(off: SwitchedOff) -> Self {
        Self { reason: off.reason, since: rfc_3339(off.since) }
    }
}

impl From<HookState> for Hook {
    fn from(state: HookState) -> Self {
        let HookState { counts, is_configured, off } = state;
        Self {
            hook: counts.hook.to_string(),
            configured: is_configured,
            owed: counts.owed,
            running: counts.running,
            done: counts.done,
            dead: counts.dead,
            switched_off: Nullable(off.map(SwitchedOffHook::from)),
        }
    }
}

/// Follow-ups, oldest first.
#[derive(Debug, Object, Serialize, Deserialize)]
pub struct FollowUps {
    pub follow_ups: Vec<FollowUpEntry>,
    /// What to ask after for more; null where there is none.
    pub next: Nullable<i64>,
}

/// The run of a hook that a publication owes.
#[derive(Debug, Object, Serialize, Deserialize)]
#[oai(rename = "FollowUp")]
pub struct FollowUpEntry {
    pub id: i64,
    /// Collection and plugin, as `societes/erp`.
    pub hook: String,
    pub state: FollowUpStatus,
    /// What the counterpart knows the publication by: the same at each attempt.
    pub event_id: String,
    /// The owner within the collection; empty where the collection has none.
    pub tenant: String,
    pub file_name: String,
    /// The version that was published, the ETag of its download.
    pub version: String,
    /// In bytes.
    pub size: u64,
    /// RFC 3339, in UTC.
    pub published: String,
    /// Since it was last retried by hand.
    pub attempts: u32,
    /// When it is tried next; null where it is not owed.
    pub due: Nullable<String>,
    /// Why the last attempt failed.
    pub reason: Nullable<String>,
    /// When it was done, or given up.
    pub ended: Nullable<String>,
}

impl From<FollowUp> for FollowUpEntry {
    fn from(row: FollowUp) -> Self {
        let is_owed = row.state == FollowUpState::Owed;
        Self {
            id: row.id.0,
            hook: row.hook.to_string(),
            state: row.state.into(),
            event_id: row.event_id,
            tenant: row.tenant,
            file_name: row.file_name,
            version: row.version,
            size: row.size,
            published: rfc_3339(row.published),
            attempts: row.attempts,
            due: Nullable(is_owed.then(|| rfc_3339(row.due))),
            reason: Nullable(row.reason),
            ended: Nullable(row.ended.map(rfc_3339)),
        }
    }
}

/// A follow-up with what came of its attempts.
#[derive(Debug, Object, Serialize, Deserialize)]
pub struct FollowUpDetail {
    pub follow_up: FollowUpEntry,
    /// The latest hundred, oldest first.
    pub failed_attempts: Vec<Attempt>,
}

/// An attempt that failed.
#[derive(Debug, Object, Serialize, Deserialize)]
pub struct Attempt {
    /// From 1; from 1 again after a retry by hand.
    pub attempt: u32,
    /// RFC 3339, in UTC.
    pub at: String,
    pub reason: String,
}

impl FollowUpDetail {
    pub fn new(row: FollowUp, attempts: Vec<FailedAttempt>) -> Self {
        let attempt =
            |FailedAttempt { attempt, at, reason }: FailedAttempt| Attempt { attempt, at: rfc_3339(at), reason };
        Self { follow_up: row.into(), failed_attempts: attempts.into_iter().map(attempt).collect() }
    }
}

/// How many follow-ups something was done to.
#[derive(Debug, Object, Serialize, Deserialize)]
pub struct Count {
    pub count: u64,
}

/// A problem document (RFC 9457).
#[derive(Object)]
#[oai(rename = "AdminProblem")]
pub struct Problem {
    #[oai(rename = "type")]
    kind: String,
    title: String,
    status: u16,
    detail: String,
}

const BAD_PARAMETER: (u16, &str) = (400, "A parameter says what cannot be.");
const UNAVAILABLE: (u16, &str) = (503, "Not available at this moment: try again later.");

pub struct ListRefusals;

impl Refusals for ListRefusals {
    type Body = Problem;
    const CONTENT_TYPE: &'static str = "application/problem+json";
    const ANSWERS: &'static [(u16, &'static str)] = &[BAD_PARAMETER, UNAVAILABLE];
}

pub struct HookRefusals;

impl Refusals for HookRefusals {
    type Body = Problem;
    const CONTENT_TYPE: &'static str = "application/problem+json";
    const ANSWERS: &'static [(u16, &'static str)] =
        &[BAD_PARAMETER, (404, "There is no such hook."), (409, "The hook is not configured any more."), UNAVAILABLE];
}

pub struct OneRefusals;

impl Refusals for OneRefusals {
    type Body = Problem;
    const CONTENT_TYPE: &'static str = "application/problem+json";
    const ANSWERS: &'static [(u16, &'static str)] = &[
        BAD_PARAMETER,
        (404, "There is no such follow-up."),
        (409, "An attempt is under way, or the hook is not configured any more."),
        UNAVAILABLE,
    ];
}

pub fn examples(document: &mut Value) {
    const HOOKS: &str = "/v1/admin/hooks";
    const LIST: &str = "/v1/admin/follow-ups";
    const ONE: &str = "/v1/admin/follow-ups/{id}";
    let hook = json!({
        "hook": "societes/erp", "configured": true, "owed": 1, "running": 0, "done": 12, "dead": 1, "switched_off": null,
    });
    set_response_example(document, "get", HOOKS, 200, json!({ "hooks": [hook] }));
    let reason = "erp.example.org answers 503: maintenance until six";
    let follow_up = json!({
        "id": 17, "hook": "societes/erp", "state": "dead", "event_id": "0199c3a2f5d27b3e9a4c1d2e3f405162",
        "tenant": "Société Générale", "file_name": "comptes_2024.json", "version": "0199c3a2f5d27b3e9a4c1d2e3f405162",
        "size": 50, "published": "2026-01-02T03:04:05.678+00:00", "attempts": 10, "due": null, "reason": reason,
        "ended": "2026-01-05T07:12:44.021+00:00",
    });
    let attempt = json!({ "attempt": 10, "at": "2026-01-05T07:12:44.021+00:00", "reason": reason });
    set_response_example(document, "get", LIST, 200, json!({ "follow_ups": [follow_up], "next": null }));
    let detail = json!({ "follow_up": follow_up, "failed_attempts": [attempt] });
    set_response_example(document, "get", ONE, 200, detail);
    let unknown = json!({
        "type": "about:blank", "title": "Not Found", "status": 404, "detail": "there is no follow-up 17",
    });
    set_response_example(document, "get", ONE, 404, unknown);
}
