//! Uploads, receipts and what is owed to them.

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Row, params};

use super::columns::{
    bits, get_optional_time, get_optional_unsigned, get_time, get_unsigned, millis, parse, unknown_value,
};
use super::readers::list;
use super::writer::Change;
use super::{Sqlite, jobs};
use crate::fault::Fault;
use crate::files::port::UploadId;
use crate::upload::port::{
    ASSEMBLE, Announced, Catalog, ChangeAnswer, End, Issue, Named, OpenAnswer, Place, Receipt, UploadKey, UploadRow,
    UploadState,
};

/// Receipts read in one transaction; an upload can have a million.
const RECEIPTS_AT_ONCE: usize = 10_000;

macro_rules! select_upload {
    ($condition:literal) => {
        concat!(
            "SELECT id, collection, principal, session, state, file_name, size, total_parts, user, storage, path, \
             sha256, boot_id, created, touched, reason, version, stored_size, stored_at, parts, admitted_as, issues FROM upload WHERE ",
            $condition
        )
    };
}

const BY_KEY: &str = select_upload!("collection = ?1 AND principal = ?2 AND session = ?3");
const BY_ID: &str = select_upload!("id = ?1");

fn get_upload(row: &Row<'_>) -> rusqlite::Result<UploadRow> {
    Ok(UploadRow {
        id: UploadId(row.get(0)?),
        key: UploadKey { collection: row.get(1)?, principal: row.get(2)?, session: row.get(3)? },
        state: parse(row, 4, |state: String| UploadState::parse(&state))?,
        announced: Announced {
            file_name: row.get(5)?,
            size: get_optional_unsigned(row, 6)?,
            total_parts: row.get(7)?,
            user: row.get(8)?,
        },
        storage: row.get(9)?,
        path: row.get(10)?,
        sha256: row.get(11)?,
        boot_id: row.get(12)?,
        created: get_time(row, 13)?,
        touched: get_time(row, 14)?,
        reason: row.get(15)?,
        version: row.get(16)?,
        stored_size: get_optional_unsigned(row, 17)?,
        stored_at: get_optional_time(row, 18)?,
        parts: row.get(19)?,
        admitted_as: row.get(20)?,
        issues: match row.get_ref(21)? {
            ValueRef::Null => Vec::new(),
            _ => parse(row, 21, |issues: String| read_issues(&issues))?,
        },
    })
}

fn get_receipt(row: &Row<'_>) -> rusqlite::Result<Receipt> {
    let place = match (get_optional_unsigned(row, 1)?, row.get(2)?) {
        (Some(offset), None) => Place::Spool { offset },
        (None, Some(number)) => Place::Overflow { number },
        _ => return Err(unknown_value(row, 1)),
    };
    Ok(Receipt { number: row.get(0)?, place, length: get_unsigned(row, 3)?, crc: get_unsigned(row, 4)? })
}

/// An issue as it is kept: path, code, message.
type KeptIssue = (String, String, String);

fn read_issues(text: &str) -> Option<Vec<Issue>> {
    let issues: Vec<KeptIssue> = serde_json::from_str(text).ok()?;
    Some(issues.into_iter().map(|(path, code, message)| Issue { path, code, message }).collect())
}

fn issues_text(issues: &[Issue]) -> Option<String> {
    let issues: Vec<(&str, &str, &str)> =
        issues.iter().map(|issue| (&*issue.path, &*issue.code, &*issue.message)).collect();
    if issues.is_empty() { None } else { serde_json::to_string(&issues).ok() }
}

#[async_trait]
impl Catalog for Sqlite {
    async fn open_upload(&self, row: UploadRow) -> Result<OpenAnswer, Fault> {
        // Each part asks for its upload; only the first one has to write.
        match self.upload(&row.key).await? {
            Some(found) if !found.state.is_replaceable() => Ok(OpenAnswer::Row(found)),
            _ => self.write("open an upload", move |change| open(change, &row)).await,
        }
    }

    async fn upload(&self, key: &UploadKey) -> Result<Option<UploadRow>, Fault> {
        self.readers.find("look up an upload", BY_KEY, (&key.collection, &key.principal, &key.session), get_upload)
    }

    async fn upload_by_id(&self, id: UploadId) -> Result<Option<UploadRow>, Fault> {
        self.readers.find("look up an upload", BY_ID, [id.0], get_upload)
    }

    async fn uploads(
        &self,
        collection: &str,
        state: UploadState,
        after: Option<UploadId>,
        limit: usize,
    ) -> Result<Vec<UploadRow>, Fault> {
        let collection = collection.to_owned();
        let after = after.map_or(i64::MIN, |id| id.0);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.readers
            .page("list uploads", move |connection| {
                list(
                    connection,
                    select_upload!("state = ?1 AND collection = ?2 AND id > ?3 ORDER BY id LIMIT ?4"),
                    (state.as_str(), &collection, after, limit),
                    get_upload,
                )
            })
            .await
    }

    async fn live_uploads(&self) -> Result<Vec<UploadId>, Fault> {
        self.readers
            .page("list uploads that have bytes in staging", |connection| {
                list(
                    connection,
                    "SELECT id FROM upload WHERE state IN ('receiving', 'received', 'rejected', 'failed')",
                    [],
                    |row| row.get(0).map(UploadId),
                )
            })
            .await
    }

    async fn announce(&self, id: UploadId, announced: Announced, named: Option<Named>) -> Result<ChangeAnswer, Fault> {
        self.write("note what was announced", move |change| announce(change, id, &announced, named.as_ref())).await
    }

    async fn keep_receipt(&self, id: UploadId, receipt: Receipt, at: Timestamp) -> Result<ChangeAnswer, Fault> {
        self.write("keep a receipt", move |change| keep_receipt(change, id, &receipt, at)).await
    }

    async fn receipt(&self, id: UploadId, number: u32) -> Result<Option<Receipt>, Fault> {
        let mut found = self
            .readers
            .page("read a receipt", move |connection| {
                list(
                    connection,
                    "SELECT number, spool_offset, overflow, length, crc FROM part WHERE upload = ?1 AND number = ?2",
                    (id.0, number),
                    get_receipt,
                )
            })
            .await?;
        Ok(found.pop())
    }

    async fn receipts(&self, id: UploadId) -> Result<Vec<Receipt>, Fault> {
        let mut receipts: Vec<Receipt> = Vec::new();
        loop {
            let after = receipts.last().map_or(-1, |receipt| i64::from(receipt.number));
            let page = self
                .readers
                .page("read receipts", move |connection| {
                    list(
                        connection,
                        "SELECT number, spool_offset, overflow, length, crc FROM part
                         WHERE upload = ?1 AND number > ?2 ORDER BY number LIMIT ?3",
                        (id.0, after, RECEIPTS_AT_ONCE as i64),
                        get_receipt,
                    )
                })
                .await?;
            let is_last = page.len() < RECEIPTS_AT_ONCE;
            receipts.extend(page);
            if is_last {
                return Ok(receipts);
            }
        }
    }

    async fn void_receipts(&self, id: UploadId, numbers: Vec<u32>, boot_id: &str) -> Result<(), Fault> {
        let boot_id = boot_id.to_owned();
        self.write("void receipts", move |change| {
            let mut removed = 0;
            for number in &numbers {
                removed += change.execute("DELETE FROM part WHERE upload = ?1 AND number = ?2", (id.0, number))?;
            }
            change.execute(
                "UPDATE upload SET boot_id = ?2, parts = parts - ?3 WHERE id = ?1",
                (id.0, &boot_id, removed as i64),
            )?;
            Ok(())
        })
        .await
    }

    async fn seal(&self, id: UploadId, at: Timestamp) -> Result<ChangeAnswer, Fault> {
        self.write("seal an upload", move |change| {
            let sealed = change.execute(
                "UPDATE upload SET state = 'received', touched = max(touched, ?2) WHERE id = ?1 AND state = 'receiving'",
                (id.0, millis(at)),
            )?;
            if sealed == 0 {
                return Ok(ChangeAnswer::WrongState);
            }
            jobs::owe(change, ASSEMBLE, id.0, at)?;
            Ok(ChangeAnswer::Done)
        })
        .await
    }

    async fn end_upload(&self, id: UploadId, from: UploadState, end: End) -> Result<ChangeAnswer, Fault> {
        self.write("end an upload", move |change| {
            let ended = change.execute(
                "UPDATE upload SET state = ?3, reason = ?4, issues = ?5 WHERE id = ?1 AND state = ?2",
                (id.0, from.as_str(), end.state.as_str(), &end.reason, issues_text(&end.issues)),
            )?;
            if ended == 0 {
                return Ok(ChangeAnswer::WrongState);
            }
            remove_owned(change, id)?;
            Ok(ChangeAnswer::Done)
        })
        .await
    }

    async fn forget_upload(&self, id: UploadId) -> Result<(), Fault> {
        self.write("forget an upload", move |change| forget(change, id)).await
    }

    async fn idle_uploads(&self, before: Timestamp, limit: usize) -> Result<Vec<UploadRow>, Fault> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.readers
            .page("list idle uploads", move |connection| {
                list(
                    connection,
                    select_upload!("state = 'receiving' AND touched < ?1 ORDER BY touched LIMIT ?2"),
                    (millis(before), limit),
                    get_upload,
                )
            })
            .await
    }
}

fn open(change: &mut Change<'_>, row: &UploadRow) -> rusqlite::Result<OpenAnswer> {
    let key = &row.key;
    let found = change.find(BY_KEY, (&key.collection, &key.principal, &key.session), get_upload)?;
    let replaced = match found {
        Some(found) if found.state.is_replaceable() => Some(found.id),
        Some(found) => return Ok(OpenAnswer::Row(found)),
        None => None,
    };
    if let Some(path) = &row.path
        && is_taken(change, &row.storage, path, None)?
    {
        return Ok(OpenAnswer::PathTaken { path: path.clone() });
    }
    if let Some(id) = replaced {
        forget(change, id)?;
    }
    let id = change.insert(
        "INSERT INTO upload (collection, principal, session, state, file_name, size, total_parts, user, storage, path,
                             sha256, boot_id, created, touched, reason, version, stored_size, stored_at, admitted_as,
                             parts)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, 0)",
        params![
            row.key.collection,
            row.key.principal,
            row.key.session,
            row.state.as_str(),
            row.announced.file_name,
            row.announced.size.map(bits),
            row.announced.total_parts,
            row.announced.user,
            row.storage,
            row.path,
            row.sha256,
            row.boot_id,
            millis(row.created),
            millis(row.touched),
            row.reason,
            row.version,
            row.stored_size.map(bits),
            row.stored_at.map(millis),
            row.admitted_as,
        ],
    )?;
    // As it was written, with times as precise as they are kept.
    let made = change.find(BY_ID, [id], get_upload)?;
    made.map(OpenAnswer::Row).ok_or(rusqlite::Error::QueryReturnedNoRows)
}

/// Whether another upload under way has the path, or a published file: one that `upload` itself published can there
/// not be, for it has not come so far.
fn is_taken(change: &Change<'_>, storage: &str, path: &str, upload: Option<UploadId>) -> rusqlite::Result<bool> {
    let taken = change.find(
        "SELECT EXISTS (SELECT 1 FROM file WHERE storage = ?1 AND path = ?2)
             OR EXISTS (SELECT 1 FROM upload WHERE storage = ?1 AND path = ?2 AND path IS NOT NULL
                        AND state IN ('receiving', 'received') AND id IS NOT ?3)",
        (storage, path, upload.map(|id| id.0)),
        |row| row.get(0),
    )?;
    Ok(taken.unwrap_or(false))
}

fn announce(
    change: &Change<'_>,
    id: UploadId,
    announced: &Announced,
    named: Option<&Named>,
) -> rusqlite::Result<ChangeAnswer> {
    let storage: Option<String> =
        change.find("SELECT storage FROM upload WHERE id = ?1 AND state = 'receiving'", [id.0], |row| row.get(0))?;
    let Some(storage) = storage else { return Ok(ChangeAnswer::WrongState) };
    if let Some(Named { path, .. }) = named
        && is_taken(change, &storage, path, Some(id))?
    {
        return Ok(ChangeAnswer::PathTaken { path: path.clone() });
    }
    // What is not said now was perhaps said before.
    change.execute(
        "UPDATE upload SET file_name = coalesce(?2, file_name), size = coalesce(?3, size),
                           total_parts = coalesce(?4, total_parts), user = coalesce(?5, user),
                           path = coalesce(?6, path), admitted_as = coalesce(?7, admitted_as)
         WHERE id = ?1",
        params![
            id.0,
            announced.file_name,
            announced.size.map(bits),
            announced.total_parts,
            announced.user,
            named.map(|named| &named.path),
            named.and_then(|named| named.admitted_as.as_ref()),
        ],
    )?;
    Ok(ChangeAnswer::Done)
}

fn keep_receipt(change: &Change<'_>, id: UploadId, receipt: &Receipt, at: Timestamp) -> rusqlite::Result<ChangeAnswer> {
    let touched = change.execute(
        "UPDATE upload SET touched = max(touched, ?2),
                           parts = parts + NOT EXISTS (SELECT 1 FROM part WHERE upload = ?1 AND number = ?3)
         WHERE id = ?1 AND state = 'receiving'",
        (id.0, millis(at), receipt.number),
    )?;
    if touched == 0 {
        return Ok(ChangeAnswer::WrongState);
    }
    let (spool_offset, overflow) = match receipt.place {
        Place::Spool { offset } => (Some(bits(offset)), None),
        Place::Overflow { number } => (None, Some(number)),
    };
    change.execute(
        "INSERT OR REPLACE INTO part (upload, number, spool_offset, overflow, length, crc)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        (id.0, receipt.number, spool_offset, overflow, bits(receipt.length), bits(receipt.crc)),
    )?;
    Ok(ChangeAnswer::Done)
}

/// Moves an upload from `received` to `stored`, as part of a publication; `false` if it is not `received` any more.
pub(super) fn store(
    change: &Change<'_>,
    id: UploadId,
    version: &str,
    size: u64,
    at: Timestamp,
) -> rusqlite::Result<bool> {
    let stored = change.execute(
        "UPDATE upload SET state = 'stored', version = ?2, stored_size = ?3, stored_at = ?4
         WHERE id = ?1 AND state = 'received'",
        (id.0, version, bits(size), millis(at)),
    )?;
    if stored == 1 {
        remove_owned(change, id)?;
    }
    Ok(stored == 1)
}

/// Parts, intents and owed work of an upload.
fn remove_owned(change: &Change<'_>, id: UploadId) -> rusqlite::Result<()> {
    change.execute("DELETE FROM part WHERE upload = ?1", [id.0])?;
    change.execute("DELETE FROM intent WHERE upload = ?1", [id.0])?;
    jobs::release(change, ASSEMBLE, id.0)
}

/// Removes an upload with all that hangs on it.
pub(super) fn forget(change: &Change<'_>, id: UploadId) -> rusqlite::Result<()> {
    remove_owned(change, id)?;
    change.execute("DELETE FROM upload WHERE id = ?1", [id.0])?;
    Ok(())
}
