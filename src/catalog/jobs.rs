//! Rows of owed work. They are written by the changes that cause them ([`owe`]); here they are claimed and ended.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::Sqlite;
use super::columns::{get_time, millis};
use super::readers::{find, list};
use super::writer::Change;
use crate::fault::Fault;
use crate::jobs::{Job, Queue};

/// Owes work as part of a change.
pub(super) fn owe(change: &mut Change<'_>, kind: &str, subject: i64, due: Timestamp) -> rusqlite::Result<()> {
    change.execute(
        "INSERT INTO job (kind, subject, attempt, due, claimed) VALUES (?1, ?2, 0, ?3, 0)",
        (kind, subject, millis(due)),
    )?;
    change.wake_jobs();
    Ok(())
}

/// The work is not owed any more.
pub(super) fn release(change: &Change<'_>, kind: &str, subject: i64) -> rusqlite::Result<()> {
    change.execute("DELETE FROM job WHERE subject = ?1 AND kind = ?2", (subject, kind))?;
    Ok(())
}

#[async_trait]
impl Queue for Sqlite {
    async fn free_claimed(&self) -> Result<(), Fault> {
        self.write("free claimed work", |change| {
            change.execute("UPDATE job SET claimed = 0 WHERE claimed = 1", [])?;
            change.wake_jobs();
            Ok(())
        })
        .await
    }

    async fn claim(&self, wanted: &[(&str, usize)], now: Timestamp) -> Result<Vec<Job>, Fault> {
        let wanted: Vec<(String, usize)> = wanted.iter().map(|(kind, limit)| ((*kind).to_owned(), *limit)).collect();
        self.write("claim work", move |change| {
            let mut claimed = Vec::new();
            for (kind, limit) in &wanted {
                claimed.extend(claim(change, kind, millis(now), *limit)?);
            }
            Ok(claimed)
        })
        .await
    }

    async fn next_due(&self, kinds: &[&str]) -> Result<Option<Timestamp>, Fault> {
        let kinds: Vec<String> = kinds.iter().map(|kind| (*kind).to_owned()).collect();
        self.readers
            .page("read when work is due", move |connection| {
                let mut earliest = None;
                for kind in &kinds {
                    let due = find(
                        connection,
                        "SELECT due FROM job WHERE kind = ?1 AND claimed = 0 ORDER BY due LIMIT 1",
                        [kind],
                        |row| get_time(row, 0),
                    )?;
                    earliest = earliest.into_iter().chain(due).min();
                }
                Ok(earliest)
            })
            .await
    }

    async fn finish(&self, id: i64) -> Result<(), Fault> {
        self.write("end a piece of work", move |change| {
            change.execute("DELETE FROM job WHERE id = ?1", [id])?;
            Ok(())
        })
        .await
    }

    async fn given_up(&self, id: i64) -> Result<(), Fault> {
        self.finish(id).await
    }

    async fn put_off(&self, id: i64, due: Timestamp, reason: &str) -> Result<(), Fault> {
        let reason = reason.to_owned();
        self.write("put off a piece of work", move |change| {
            change.execute(
                "UPDATE job SET claimed = 0, due = ?2, reason = ?3 WHERE id = ?1",
                (id, millis(due), &reason),
            )?;
            change.wake_jobs();
            Ok(())
        })
        .await
    }

    fn woken(&self) -> Arc<Notify> {
        self.jobs_woken.clone()
    }
}

fn claim(change: &Change<'_>, kind: &str, now: i64, limit: usize) -> rusqlite::Result<Vec<Job>> {
    let due = list(
        change.connection(),
        "SELECT id, subject, attempt + 1 FROM job WHERE kind = ?1 AND claimed = 0 AND due <= ?2
         ORDER BY due, id LIMIT ?3",
        (kind, now, i64::try_from(limit).unwrap_or(i64::MAX)),
        |row| Ok(Job { id: row.get(0)?, kind: kind.to_owned(), subject: row.get(1)?, attempt: row.get(2)? }),
    )?;
    for job in &due {
        change.execute("UPDATE job SET claimed = 1, attempt = ?2 WHERE id = ?1", (job.id, job.attempt))?;
    }
    Ok(due)
}
