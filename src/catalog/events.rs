//! The event log. Events are written by the changes that they tell of ([`write`]); here they are read and pruned.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, Row};
use tokio::sync::watch;

use super::columns::{bits, get_optional_unsigned, get_time, get_unsigned, millis, parse};
use super::readers::{find, list};
use super::writer::Change;
use super::{Sqlite, schema};
use crate::events::{Event, EventKind, EventLog, LogBounds, NewEvent, Position};
use crate::fault::Fault;

/// So many events are read on the spot: whoever follows the log asks after each commit, mostly for one.
const FEW: u64 = 16;
/// How many events one transaction of pruning removes: others get their turn between two.
const PRUNED_AT_ONCE: i64 = 1000;

/// Writes an event as part of a change. The one writer is what makes positions grow in commit order.
pub(super) fn write(change: &mut Change<'_>, event: &NewEvent) -> rusqlite::Result<Position> {
    let row = change.insert(
        "INSERT INTO event (kind, collection, tenant, file_name, version, size, files_count, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        (
            event.kind.as_str(),
            &event.collection,
            &event.tenant,
            &event.file_name,
            &event.version,
            event.size.map(bits),
            event.files_count.map(bits),
            millis(event.at),
        ),
    )?;
    let position = row.cast_unsigned();
    change.logged(position);
    Ok(position)
}

fn get_event(row: &Row<'_>) -> rusqlite::Result<Event> {
    Ok(Event {
        position: get_unsigned(row, 0)?,
        event: NewEvent {
            kind: parse(row, 1, |kind: String| EventKind::parse(&kind))?,
            collection: row.get(2)?,
            tenant: row.get(3)?,
            file_name: row.get(4)?,
            version: row.get(5)?,
            size: get_optional_unsigned(row, 6)?,
            files_count: get_optional_unsigned(row, 7)?,
            at: get_time(row, 8)?,
        },
    })
}

fn read_after(connection: &Connection, after: i64, limit: i64) -> rusqlite::Result<Vec<Event>> {
    list(
        connection,
        "SELECT position, kind, collection, tenant, file_name, version, size, files_count, at
         FROM event WHERE position > ?1 ORDER BY position LIMIT ?2",
        (after, limit),
        get_event,
    )
}

#[async_trait]
impl EventLog for Sqlite {
    async fn read_after(&self, position: Position, limit: usize) -> Result<Vec<Event>, Fault> {
        // Past the last number that SQLite can count to there is nothing.
        let after = i64::try_from(position).unwrap_or(i64::MAX);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let is_near_the_end = self.head.borrow().saturating_sub(position) <= FEW;
        if is_near_the_end {
            return self.readers.few("read the latest events", |connection| read_after(connection, after, limit));
        }
        self.readers.page("read events", move |connection| read_after(connection, after, limit)).await
    }

    async fn bounds(&self) -> Result<LogBounds, Fault> {
        self.readers.page("read the bounds of the event log", bounds).await
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.head.subscribe()
    }

    async fn prune(&self, before: Timestamp) -> Result<u64, Fault> {
        let before = millis(before);
        let mut removed = 0;
        loop {
            let now = self.write("prune events", move |change| prune_some(change, before)).await?;
            removed += now;
            if now < PRUNED_AT_ONCE.cast_unsigned() {
                return Ok(removed);
            }
        }
    }
}

fn bounds(connection: &Connection) -> rusqlite::Result<LogBounds> {
    // One transaction, so that the three agree.
    let transaction = connection.unchecked_transaction()?;
    let pruned_to = find(&transaction, "SELECT pruned_to FROM meta", [], |row| get_unsigned(row, 0))?.unwrap_or(0);
    let gaps = list(&transaction, "SELECT after, up_to FROM event_gap ORDER BY after", [], |row| {
        Ok((get_unsigned(row, 0)?, get_unsigned(row, 1)?))
    })?;
    Ok(LogBounds { pruned_to, head: schema::head(&transaction)?, gaps })
}

/// Removes the oldest events, as long as they are older than `before`: what is left has no hole, even where the clock was set
/// back.
fn prune_some(change: &Change<'_>, before: i64) -> rusqlite::Result<u64> {
    let oldest = list(
        change.connection(),
        "SELECT position, at FROM event ORDER BY position LIMIT ?1",
        [PRUNED_AT_ONCE],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
    )?;
    let Some(&(last, _)) = oldest.iter().take_while(|(_, at)| *at < before).last() else { return Ok(0) };
    let removed = change.execute("DELETE FROM event WHERE position <= ?1", [last])?;
    change.execute("UPDATE meta SET pruned_to = ?1", [last])?;
    change.execute("DELETE FROM event_gap WHERE up_to <= ?1", [last])?;
    Ok(removed as u64)
}
