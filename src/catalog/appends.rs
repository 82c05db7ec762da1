//! The rows of append-only files.

use rusqlite::{Row, params};

use super::columns::{bits, get_optional_unsigned, get_time, get_unsigned, millis};
use super::writer::Change;
use crate::files::port::{AppendRecord, Utf8State};

pub(super) fn write_append(change: &Change<'_>, record: &AppendRecord) -> rusqlite::Result<()> {
    let utf8_open = match &record.utf8 {
        Utf8State::Valid { open } => Some(open),
        Utf8State::Invalid => None,
    };
    change.execute(
        "INSERT OR REPLACE INTO append_file
             (collection, storage, path, generation, length, device, inode, utf8_open, modified)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            record.collection,
            record.storage,
            record.path,
            record.generation,
            bits(record.length),
            record.inode.map(|(device, _)| bits(device)),
            record.inode.map(|(_, inode)| bits(inode)),
            utf8_open,
            millis(record.modified),
        ],
    )?;
    Ok(())
}

pub(super) fn get_append(row: &Row<'_>) -> rusqlite::Result<AppendRecord> {
    let utf8_open: Option<Vec<u8>> = row.get(7)?;
    Ok(AppendRecord {
        collection: row.get(0)?,
        storage: row.get(1)?,
        path: row.get(2)?,
        generation: row.get(3)?,
        length: get_unsigned(row, 4)?,
        inode: get_optional_unsigned(row, 5)?.zip(get_optional_unsigned(row, 6)?),
        utf8: utf8_open.map_or(Utf8State::Invalid, |open| Utf8State::Valid { open }),
        modified: get_time(row, 8)?,
    })
}
