//! Follow-ups: written by the publications that owe them ([`owe`]), claimed and ended as work ([`FollowUpQueue`]), looked at and brought to an
//! end by operators.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, Row, params};
use tokio::sync::Notify;

use super::Sqlite;
use super::columns::{bits, get_optional_time, get_time, get_unsigned, millis, parse};
use super::readers::{find, list};
use super::writer::Change;
use crate::crash;
use crate::fault::Fault;
use crate::files::port::FileRecord;
use crate::follow_ups::port::{
    Catalog, FailedAttempt, Filter, FollowUp, FollowUpId, FollowUpState, HookCounts, HookName, Selection, SwitchedOff,
};
use crate::jobs::{Job, Queue};

/// How many rows one transaction changes that is not about a single one: others get their turn between two.
const CHANGED_AT_ONCE: u64 = 500;
/// A follow-up that is retried for ever keeps no more of its failed attempts.
const ATTEMPTS_KEPT: i64 = 200;

macro_rules! select_follow_up {
    ($rest:literal) => {
        concat!(
            "SELECT id, hook, state, event_id, tenant, file_name, storage, path, version, size, sha256, published, \
             attempts, due, reason, ended FROM follow_up ",
            $rest
        )
    };
}

fn get_follow_up(row: &Row<'_>) -> rusqlite::Result<FollowUp> {
    Ok(FollowUp {
        id: FollowUpId(row.get(0)?),
        hook: parse(row, 1, |hook: String| HookName::parse(&hook))?,
        state: parse(row, 2, |state: String| FollowUpState::parse(&state))?,
        event_id: row.get(3)?,
        tenant: row.get(4)?,
        file_name: row.get(5)?,
        storage: row.get(6)?,
        path: row.get(7)?,
        version: row.get(8)?,
        size: get_unsigned(row, 9)?,
        sha256: row.get(10)?,
        published: get_time(row, 11)?,
        attempts: row.get(12)?,
        due: get_time(row, 13)?,
        reason: row.get(14)?,
        ended: get_optional_time(row, 15)?,
    })
}

/// Owes the runs of these plugins to a publication, as part of it. A version is given to one publication alone, so it names the event.
pub(super) fn owe(
    change: &mut Change<'_>,
    record: &FileRecord,
    plugins: &[Arc<str>],
    at: Timestamp,
) -> rusqlite::Result<()> {
    for plugin in plugins {
        change.execute(
            "INSERT INTO follow_up (hook, state, event_id, tenant, file_name, storage, path, version, size, sha256,
                                    published, attempts, due)
             VALUES (?1, 'owed', ?2, ?3, ?4, ?5, ?6, ?2, ?7, ?8, ?9, 0, ?9)",
            params![
                HookName::new(&record.collection, plugin).to_string(),
                record.version,
                record.tenant,
                record.file_name,
                record.storage,
                record.path,
                bits(record.size),
                record.sha256,
                millis(at),
            ],
        )?;
        change.wake_follow_ups();
    }
    Ok(())
}

/// Follow-ups as work: a kind is a hook, so that none waits for another.
pub struct FollowUpQueue(pub Arc<Sqlite>);

#[async_trait]
impl Queue for FollowUpQueue {
    async fn free_claimed(&self) -> Result<(), Fault> {
        let write = self.0.write("free claimed follow-ups", |change| {
            change.execute("UPDATE follow_up SET state = 'owed' WHERE state = 'running'", [])?;
            change.wake_follow_ups();
            Ok(())
        });
        write.await
    }

    async fn claim(&self, wanted: &[(&str, usize)], now: Timestamp) -> Result<Vec<Job>, Fault> {
        let wanted: Vec<(String, i64)> = wanted
            .iter()
            .map(|(hook, limit)| ((*hook).to_owned(), i64::try_from(*limit).unwrap_or(i64::MAX)))
            .collect();
        let write = self.0.write("claim follow-ups", move |change| {
            let mut claimed = Vec::new();
            for (hook, limit) in &wanted {
                claim(change, hook, millis(now), *limit, &mut claimed)?;
            }
            Ok(claimed)
        });
        write.await
    }

    async fn next_due(&self, kinds: &[&str]) -> Result<Option<Timestamp>, Fault> {
        let hooks: Vec<String> = kinds.iter().map(|kind| (*kind).to_owned()).collect();
        let read = self.0.readers.page("read when follow-ups are due", move |connection| {
            let mut earliest = None;
            for hook in &hooks {
                let sql = "SELECT due FROM follow_up WHERE hook = ?1 AND state = 'owed' ORDER BY due LIMIT 1";
                let due = find(connection, sql, [hook], |row| get_time(row, 0))?;
                earliest = earliest.into_iter().chain(due).min();
            }
            Ok(earliest)
        });
        read.await
    }

    async fn finish(&self, id: i64) -> Result<(), Fault> {
        let now = millis(Timestamp::now());
        let write = self.0.write("end a follow-up", move |change| {
            change.execute(
                "UPDATE follow_up SET state = 'done', reason = NULL, ended = ?2 WHERE id = ?1 AND state = 'running'",
                (id, now),
            )?;
            Ok(())
        });
        write.await?;
        crash::point("follow-up.settled");
        Ok(())
    }

    /// It is dead by now, or gone, and may have been owed anew since.
    async fn given_up(&self, _id: i64) -> Result<(), Fault> {
        crash::point("follow-up.settled");
        Ok(())
    }

    async fn put_off(&self, id: i64, due: Timestamp, reason: &str) -> Result<(), Fault> {
        let (reason, now) = (reason.to_owned(), Timestamp::now());
        let write = self.0.write("put off a follow-up", move |change| {
            note_failure(change, FollowUpId(id), &reason, now)?;
            change.execute(
                "UPDATE follow_up SET state = 'owed', due = ?2, reason = ?3 WHERE id = ?1 AND state = 'running'",
                (id, millis(due), &reason),
            )?;
            change.wake_follow_ups();
            Ok(())
        });
        write.await?;
        crash::point("follow-up.settled");
        Ok(())
    }

    fn woken(&self) -> Arc<Notify> {
        self.0.follow_ups_woken.clone()
    }
}

fn claim(change: &Change<'_>, hook: &str, now: i64, limit: i64, claimed: &mut Vec<Job>) -> rusqlite::Result<()> {
    let due = list(
        change.connection(),
        "SELECT id, attempts + 1 FROM follow_up WHERE hook = ?1 AND state = 'owed' AND due <= ?2
         ORDER BY due, id LIMIT ?3",
        (hook, now, limit),
        |row| Ok(Job { id: row.get(0)?, kind: hook.to_owned(), subject: row.get(0)?, attempt: row.get(1)? }),
    )?;
    for job in &due {
        change.execute("UPDATE follow_up SET state = 'running', attempts = ?2 WHERE id = ?1", (job.id, job.attempt))?;
    }
    claimed.extend(due);
    Ok(())
}

fn note_failure(change: &Change<'_>, id: FollowUpId, reason: &str, at: Timestamp) -> rusqlite::Result<()> {
    change.execute(
        "INSERT INTO follow_up_attempt (follow_up, attempt, at, reason)
         SELECT id, attempts, ?2, ?3 FROM follow_up WHERE id = ?1",
        (id.0, millis(at), reason),
    )?;
    change.execute(
        "DELETE FROM follow_up_attempt WHERE follow_up = ?1 AND rowid <= (
             SELECT rowid FROM follow_up_attempt WHERE follow_up = ?1 ORDER BY rowid DESC LIMIT 1 OFFSET ?2)",
        (id.0, ATTEMPTS_KEPT),
    )?;
    Ok(())
}

#[async_trait]
impl Catalog for Sqlite {
    async fn follow_up(&self, id: FollowUpId) -> Result<Option<FollowUp>, Fault> {
        self.readers.find("look up a follow-up", select_follow_up!("WHERE id = ?1"), [id.0], get_follow_up)
    }

    async fn failed_attempts(&self, id: FollowUpId, limit: usize) -> Result<Vec<FailedAttempt>, Fault> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let read = self.readers.page("read failed attempts", move |connection| {
            let mut latest = list(
                connection,
                "SELECT attempt, at, reason FROM follow_up_attempt WHERE follow_up = ?1 ORDER BY rowid DESC LIMIT ?2",
                (id.0, limit),
                |row| Ok(FailedAttempt { attempt: row.get(0)?, at: get_time(row, 1)?, reason: row.get(2)? }),
            )?;
            latest.reverse();
            Ok(latest)
        });
        read.await
    }

    async fn follow_ups(
        &self,
        filter: &Filter,
        after: Option<FollowUpId>,
        limit: usize,
    ) -> Result<Vec<FollowUp>, Fault> {
        let filter = filter.clone();
        let after = after.map_or(i64::MIN, |id| id.0);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let read = self.readers.page("list follow-ups", move |connection| {
            let state = filter.state.map(FollowUpState::as_str);
            let hook = filter.hook.as_ref().map(HookName::to_string);
            match (hook, state) {
                (Some(hook), Some(state)) => list(
                    connection,
                    select_follow_up!("WHERE hook = ?1 AND state = ?2 AND id > ?3 ORDER BY id LIMIT ?4"),
                    (hook, state, after, limit),
                    get_follow_up,
                ),
                (Some(hook), None) => list(
                    connection,
                    select_follow_up!("WHERE hook = ?1 AND id > ?2 ORDER BY id LIMIT ?3"),
                    (hook, after, limit),
                    get_follow_up,
                ),
                (None, Some(state)) => list(
                    connection,
                    select_follow_up!("WHERE state = ?1 AND id > ?2 ORDER BY id LIMIT ?3"),
                    (state, after, limit),
                    get_follow_up,
                ),
                (None, None) => list(
                    connection,
                    select_follow_up!("WHERE id > ?1 ORDER BY id LIMIT ?2"),
                    (after, limit),
                    get_follow_up,
                ),
            }
        });
        read.await
    }

    async fn hook_counts(&self) -> Result<Vec<HookCounts>, Fault> {
        self.readers.page("count follow-ups", hook_counts).await
    }

    async fn bury(&self, id: FollowUpId, reason: &str, at: Timestamp) -> Result<(), Fault> {
        let reason = reason.to_owned();
        let write = self.write("make a dead letter", move |change| {
            note_failure(change, id, &reason, at)?;
            change.execute(
                "UPDATE follow_up SET state = 'dead', reason = ?2, ended = ?3 WHERE id = ?1 AND state = 'running'",
                (id.0, &reason, millis(at)),
            )?;
            Ok(())
        });
        write.await
    }

    async fn drop_follow_up(&self, id: FollowUpId) -> Result<(), Fault> {
        let write = self.write("drop a follow-up", move |change| {
            change.execute("DELETE FROM follow_up WHERE id = ?1", [id.0])?;
            Ok(())
        });
        write.await
    }

    async fn retry(&self, which: &Selection, at: Timestamp) -> Result<u64, Fault> {
        let at = millis(at);
        match which {
            Selection::One(id) => {
                let id = id.0;
                let write = self.write("retry a follow-up", move |change| {
                    let retried = change.execute(
                        "UPDATE follow_up SET state = 'owed', attempts = 0, due = ?2, ended = NULL
                         WHERE id = ?1 AND state <> 'running'",
                        (id, at),
                    )?;
                    if retried > 0 {
                        let sql = "DELETE FROM hook_off WHERE hook = (SELECT hook FROM follow_up WHERE id = ?1)";
                        change.execute(sql, [id])?;
                        change.wake_follow_ups();
                    }
                    Ok(retried as u64)
                });
                write.await
            }
            Selection::DeadOf(hook) => {
                let hook = hook.to_string();
                // Not those that die meanwhile.
                self.in_turns("retry follow-ups", move |change| {
                    change.execute("DELETE FROM hook_off WHERE hook = ?1", [&hook])?;
                    change.wake_follow_ups();
                    change.execute(
                        "UPDATE follow_up SET state = 'owed', attempts = 0, due = ?2, ended = NULL WHERE id IN (
                             SELECT id FROM follow_up WHERE hook = ?1 AND state = 'dead' AND ended <= ?2 LIMIT ?3)",
                        (&hook, at, bits(CHANGED_AT_ONCE)),
                    )
                })
                .await
            }
        }
    }

    async fn discard(&self, which: &Selection) -> Result<u64, Fault> {
        match which {
            Selection::One(id) => {
                let id = id.0;
                let write = self.write("discard a follow-up", move |change| {
                    let sql = "DELETE FROM follow_up WHERE id = ?1 AND state <> 'running'";
                    Ok(change.execute(sql, [id])? as u64)
                });
                write.await
            }
            Selection::DeadOf(hook) => {
                let hook = hook.to_string();
                self.in_turns("discard follow-ups", move |change| {
                    change.execute(
                        "DELETE FROM follow_up WHERE id IN (
                             SELECT id FROM follow_up WHERE hook = ?1 AND state = 'dead' LIMIT ?2)",
                        (&hook, bits(CHANGED_AT_ONCE)),
                    )
                })
                .await
            }
        }
    }

    async fn last_follow_up(&self) -> Result<FollowUpId, Fault> {
        let sql = "SELECT coalesce(max(id), 0) FROM follow_up";
        let last = self.readers.find("look up the last follow-up", sql, [], |row| row.get(0).map(FollowUpId))?;
        Ok(last.unwrap_or(FollowUpId(0)))
    }

    async fn bury_others(
        &self,
        configured: &[HookName],
        up_to: FollowUpId,
        reason: &str,
        at: Timestamp,
    ) -> Result<u64, Fault> {
        let configured: Vec<String> = configured.iter().map(HookName::to_string).collect();
        let owed = self.readers.page("list hooks that something is owed to", owed_hooks).await?;
        let mut buried = 0;
        for hook in owed.into_iter().filter(|hook| !configured.contains(hook)) {
            let (reason, at) = (reason.to_owned(), millis(at));
            buried += self
                .in_turns("make dead letters of what no hook carries out", move |change| {
                    change.execute(
                        "UPDATE follow_up SET state = 'dead', reason = ?2, ended = ?3 WHERE id IN (
                             SELECT id FROM follow_up WHERE hook = ?1 AND state = 'owed' AND id <= ?4 LIMIT ?5)",
                        (&hook, &reason, at, up_to.0, bits(CHANGED_AT_ONCE)),
                    )
                })
                .await?;
        }
        Ok(buried)
    }

    async fn switch_off(&self, hook: &HookName, reason: &str, at: Timestamp) -> Result<(), Fault> {
        let (hook, reason) = (hook.to_string(), reason.to_owned());
        let write = self.write("switch a hook off", move |change| {
            change.execute(
                "INSERT OR IGNORE INTO hook_off (hook, reason, since) VALUES (?1, ?2, ?3)",
                (&hook, &reason, millis(at)),
            )?;
            Ok(())
        });
        write.await
    }

    async fn switched_off(&self, hook: &HookName) -> Result<Option<SwitchedOff>, Fault> {
        let sql = "SELECT hook, reason, since FROM hook_off WHERE hook = ?1";
        self.readers.find("look up whether a hook is on", sql, [hook.to_string()], get_switched_off)
    }

    async fn all_switched_off(&self) -> Result<Vec<SwitchedOff>, Fault> {
        let sql = "SELECT hook, reason, since FROM hook_off ORDER BY hook";
        let read = self
            .readers
            .page("list hooks that are switched off", move |connection| list(connection, sql, [], get_switched_off));
        read.await
    }

    async fn switch_on(&self, hook: &HookName) -> Result<(), Fault> {
        let hook = hook.to_string();
        let write = self.write("switch a hook on", move |change| {
            change.execute("DELETE FROM hook_off WHERE hook = ?1", [&hook])?;
            Ok(())
        });
        write.await
    }

    async fn prune_done(&self, before: Timestamp) -> Result<u64, Fault> {
        let before = millis(before);
        self.in_turns("prune follow-ups that were done", move |change| {
            change.execute(
                // Without the index's name SQLite takes another one, and goes through every row that is done.
                "DELETE FROM follow_up WHERE id IN (
                     SELECT id FROM follow_up INDEXED BY follow_up_done WHERE state = 'done' AND ended < ?1 LIMIT ?2)",
                (before, bits(CHANGED_AT_ONCE)),
            )
        })
        .await
    }
}

impl Sqlite {
    /// Makes a change of at most [`CHANGED_AT_ONCE`] rows again and again, until it finds less. Gives how many in all.
    async fn in_turns(
        &self,
        operation: &'static str,
        change: impl Fn(&mut Change<'_>) -> rusqlite::Result<usize> + Send + Sync + 'static,
    ) -> Result<u64, Fault> {
        let change = Arc::new(change);
        let mut changed = 0;
        loop {
            let turn = change.clone();
            let now = self.write(operation, move |writing| Ok(turn(writing)? as u64)).await?;
            changed += now;
            if now < CHANGED_AT_ONCE {
                return Ok(changed);
            }
        }
    }
}

fn get_switched_off(row: &Row<'_>) -> rusqlite::Result<SwitchedOff> {
    Ok(SwitchedOff {
        hook: parse(row, 0, |hook: String| HookName::parse(&hook))?,
        reason: row.get(1)?,
        since: get_time(row, 2)?,
    })
}

/// The hooks that something is owed to: from one to the next by the index, as many steps as there are hooks.
fn owed_hooks(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let hooks: Vec<Option<String>> = list(
        connection,
        // Without the index's name SQLite takes another one, and goes through every row that is owed.
        "WITH RECURSIVE each (hook) AS (
             SELECT min(hook) FROM follow_up INDEXED BY follow_up_due WHERE state = 'owed'
             UNION ALL
             SELECT (SELECT min(hook) FROM follow_up INDEXED BY follow_up_due WHERE state = 'owed' AND hook > each.hook)
             FROM each WHERE each.hook IS NOT NULL
         )
         SELECT hook FROM each",
        [],
        |row| row.get(0),
    )?;
    Ok(hooks.into_iter().flatten().collect())
}

fn hook_counts(connection: &Connection) -> rusqlite::Result<Vec<HookCounts>> {
    let rows = list(
        connection,
        "SELECT hook, state, count(*) FROM follow_up GROUP BY hook, state ORDER BY hook",
        [],
        |row| {
            let hook = parse(row, 0, |hook: String| HookName::parse(&hook))?;
            let state = parse(row, 1, |state: String| FollowUpState::parse(&state))?;
            Ok((hook, state, get_unsigned(row, 2)?))
        },
    )?;
    let mut counts: Vec<HookCounts> = Vec::new();
    for (hook, state, count) in rows {
        if counts.last().is_none_or(|last| last.hook != hook) {
            counts.push(HookCounts { hook, owed: 0, running: 0, done: 0, dead: 0 });
        }
        if let Some(last) = counts.last_mut() {
            match state {
                FollowUpState::Owed => last.owed = count,
                FollowUpState::Running => last.running = count,
                FollowUpState::Done => last.done = count,
                FollowUpState::Dead => last.dead = count,
            }
        }
    }
    Ok(counts)
}
