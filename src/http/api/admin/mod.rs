//! `/v1/admin`: what operators look at and do. Today that is the follow-ups: which are owed, which are dead letters and why; to retry and to
//! discard them. `tidegate hooks` does the same by the operator's socket.

pub mod messages;

use poem_openapi::param::{Path, Query};
use poem_openapi::{OpenApi, Tags};

use self::messages::{
    Count, FollowUpDetail, FollowUpEntry, FollowUpStatus, FollowUps, Hook, HookRefusals, Hooks, ListRefusals,
    OneRefusals,
};
use super::{Api, Serving};
use crate::follow_ups::port::{Filter, FollowUpId, HookName, Selection};
use crate::follow_ups::{RetryError, Unchanged};
use crate::http::refusal::Refusal;
use crate::http::typed::{Json, Nullable, Refused};
use poem::http::StatusCode;

pub const API: Api = Api {
    name: "admin",
    is_on: |dialects| dialects.admin,
    document: |builder| builder.api::<AdminApi>().edit(messages::examples),
    mount: |routes, serving| routes.api(AdminApi { serving: serving.clone() }),
};

struct AdminApi {
    serving: Serving,
}

#[derive(Tags)]
enum AdminTags {
    /// What happens after publication: which hooks are owed, what failed, and what to do about it.
    Administration,
}

impl AdminApi {
    fn follow_ups(&self) -> crate::follow_ups::FollowUps {
        self.serving.gateway.current().follow_ups.clone()
    }

    /// The dead letters of a hook that there is.
    async fn dead_of(&self, collection: &str, plugin: &str) -> Result<Selection, Refusal> {
        let hook = HookName::new(collection, plugin);
        match self.follow_ups().is_known(&hook).await? {
            true => Ok(Selection::DeadOf(hook)),
            false => Err(Refusal::not_found(format!("there is no hook `{hook}`"))),
        }
    }

    /// Why a follow-up was not changed.
    async fn unchanged(&self, id: i64) -> Refusal {
        match self.follow_ups().unchanged(FollowUpId(id)).await {
            Ok(unchanged @ Unchanged::Running(_)) => Refusal::new(StatusCode::CONFLICT, unchanged.to_string()),
            Ok(Unchanged::Missing(_)) => no_such_follow_up(id),
            Err(fault) => fault.into(),
        }
    }
}

#[OpenApi(prefix_path = "/v1/admin", tag = "AdminTags::Administration")]
impl AdminApi {
    /// List hooks
    ///
    /// Those that follow publications up: every one that is configured or has follow-ups, with how many are in each state.
    #[oai(path = "/hooks", method = "get", operation_id = "listHooks")]
    async fn hooks(&self) -> Result<Json<Hooks>, Refused<ListRefusals>> {
        let hooks = self.follow_ups().hooks().await?;
        Ok(Json(Hooks { hooks: hooks.into_iter().map(Hook::from).collect() }))
    }

    /// Retry a hook's dead letters
    ///
    /// All of them are owed anew, due at once. Switches the hook on again, if its counterpart had it switched off.
    #[oai(path = "/hooks/:collection/:plugin/retry", method = "post", operation_id = "retryHook")]
    async fn retry_hook(
        &self,
        /// The collection.
        collection: Path<String>,
        /// The plugin's instance in that collection.
        plugin: Path<String>,
    ) -> Result<Json<Count>, Refused<HookRefusals>> {
        let which = self.dead_of(&collection, &plugin).await?;
        Ok(Json(Count { count: self.follow_ups().retry(&which).await.map_err(not_retried)? }))
    }

    /// Discard a hook's dead letters
    #[oai(path = "/hooks/:collection/:plugin/dead", method = "delete", operation_id = "discardDeadLetters")]
    async fn discard_dead(
        &self,
        /// The collection.
        collection: Path<String>,
        /// The plugin's instance in that collection.
        plugin: Path<String>,
    ) -> Result<Json<Count>, Refused<HookRefusals>> {
        let which = self.dead_of(&collection, &plugin).await?;
        Ok(Json(Count { count: self.follow_ups().discard(&which).await? }))
    }

    /// List follow-ups
    ///
    /// Oldest first, at most `limit`; ask again after `next`.
    #[oai(path = "/follow-ups", method = "get", operation_id = "listFollowUps")]
    async fn list(
        &self,
        /// Only of this hook, as `societes/erp`.
        hook: Query<Option<String>>,
        /// Only in this state.
        state: Query<Option<FollowUpStatus>>,
        /// The id after which to read.
        after: Query<Option<i64>>,
        /// The most in one answer.
        #[oai(default = "default_limit", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u16>,
    ) -> Result<Json<FollowUps>, Refused<ListRefusals>> {
        let filter = Filter { hook: hook_name(hook.0.as_deref())?, state: state.0.map(Into::into) };
        let limit = usize::from(limit.0);
        Ok(Json(page(&self.follow_ups(), &filter, after.0, limit).await?))
    }

    /// Get a follow-up
    ///
    /// With what came of its latest attempts.
    #[oai(path = "/follow-ups/:id", method = "get", operation_id = "getFollowUp")]
    async fn get(
        &self,
        /// Its id.
        id: Path<i64>,
    ) -> Result<Json<FollowUpDetail>, Refused<OneRefusals>> {
        let found = self.follow_ups().find(FollowUpId(id.0)).await?;
        let (row, attempts) = found.ok_or_else(|| no_such_follow_up(id.0))?;
        Ok(Json(FollowUpDetail::new(row, attempts)))
    }

    /// Retry a follow-up
    ///
    /// It is owed anew, due at once, with every attempt before it, also if it was done. Switches its hook on again, if its counterpart had it
    /// switched off.
    #[oai(path = "/follow-ups/:id/retry", method = "post", operation_id = "retryFollowUp")]
    async fn retry(
        &self,
        /// Its id.
        id: Path<i64>,
    ) -> Result<Json<Count>, Refused<OneRefusals>> {
        match self.follow_ups().retry(&Selection::One(FollowUpId(id.0))).await.map_err(not_retried)? {
            0 => Err(self.unchanged(id.0).await)?,
            count => Ok(Json(Count { count })),
        }
    }

    /// Discard a follow-up
    ///
    /// It is not owed any more, and gone from the list.
    #[oai(path = "/follow-ups/:id", method = "delete", operation_id = "discardFollowUp")]
    async fn discard(
        &self,
        /// Its id.
        id: Path<i64>,
    ) -> Result<Json<Count>, Refused<OneRefusals>> {
        match self.follow_ups().discard(&Selection::One(FollowUpId(id.0))).await? {
            0 => Err(self.unchanged(id.0).await)?,
            count => Ok(Json(Count { count })),
        }
    }
}

fn default_limit() -> u16 {
    100
}

fn hook_name(hook: Option<&str>) -> Result<Option<HookName>, Refusal> {
    let parse = |hook: &str| {
        HookName::parse(hook).ok_or_else(|| {
            Refusal::bad_request(format!("hook: `{hook}` is none; write COLLECTION/PLUGIN, as societes/erp"))
        })
    };
    hook.map(parse).transpose()
}

fn not_retried(error: RetryError) -> Refusal {
    match error {
        RetryError::Fault(fault) => fault.into(),
        RetryError::NotConfigured(_) => Refusal::new(StatusCode::CONFLICT, error.to_string()),
    }
}

fn no_such_follow_up(id: i64) -> Refusal {
    Refusal::not_found(Unchanged::Missing(FollowUpId(id)).to_string())
}

/// A page of follow-ups as it is shown.
pub async fn page(
    follow_ups: &crate::follow_ups::FollowUps,
    filter: &Filter,
    after: Option<i64>,
    limit: usize,
) -> Result<FollowUps, crate::fault::Fault> {
    // One more than is given says whether there is a next page.
    let mut rows = follow_ups.list(filter, after.map(FollowUpId), limit + 1).await?;
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| has_more).map(|row| row.id.0);
    Ok(FollowUps { follow_ups: rows.into_iter().map(FollowUpEntry::from).collect(), next: Nullable(next) })
}
