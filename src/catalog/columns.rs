//! Between SQL's columns and the domain's types: numbers, times, and the columns that several tables share.

use jiff::Timestamp;
use rusqlite::Row;
use rusqlite::types::{FromSql, ToSqlOutput, Type, Value, ValueRef};

use crate::files::port::{FileRecord, Identity};

/// An unsigned number as SQLite's signed one with the same bits.
pub(super) fn bits(number: u64) -> i64 {
    number.cast_signed()
}

pub(super) fn unsigned(number: i64) -> u64 {
    number.cast_unsigned()
}

pub(super) fn get_unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get(column).map(unsigned)
}

pub(super) fn get_optional_unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(unsigned))
}

pub(super) fn millis(time: Timestamp) -> i64 {
    time.as_millisecond()
}

pub(super) fn get_time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    parse(row, column, |millis| Timestamp::from_millisecond(millis).ok())
}

pub(super) fn get_optional_time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        _ => get_time(row, column).map(Some),
    }
}

/// A column that holds one of the texts or numbers that the gateway writes there. Anything else is a damaged row.
pub(super) fn parse<C: FromSql, T>(
    row: &Row<'_>,
    column: usize,
    parse: impl FnOnce(C) -> Option<T>,
) -> rusqlite::Result<T> {
    parse(row.get(column)?).ok_or_else(|| unknown_value(row, column))
}

pub(super) fn unknown_value(row: &Row<'_>, column: usize) -> rusqlite::Error {
    let found = row.get_ref(column).map_or(Type::Null, |value| value.data_type());
    rusqlite::Error::FromSqlConversionFailure(column, found, "the catalog holds a value that no gateway writes".into())
}

/// The columns of a [`FileRecord`], for [`record_values`] and [`get_record`].
macro_rules! record_columns {
    () => {
        "collection, tenant, file_name, storage, path, version, size, crc, sha256, modified, \
         identity_size, mtime, device, inode, ctime, etag"
    };
}
pub(super) use record_columns;

pub(super) const RECORD_COLUMNS: usize = 16;

pub(super) fn record_values(record: &FileRecord) -> [ToSqlOutput<'_>; RECORD_COLUMNS] {
    let [size, mtime, device, inode, ctime, etag] = identity_values(&record.identity);
    [
        text(&record.collection),
        text(&record.tenant),
        text(&record.file_name),
        text(&record.storage),
        text(&record.path),
        text(&record.version),
        integer(bits(record.size)),
        integer(bits(record.crc)),
        record.sha256.as_ref().map_or(null(), |digest| ToSqlOutput::Borrowed(ValueRef::Blob(digest))),
        integer(millis(record.modified)),
        size,
        mtime,
        device,
        inode,
        ctime,
        etag,
    ]
}

/// From the first columns of a row.
pub(super) fn get_record(row: &Row<'_>) -> rusqlite::Result<FileRecord> {
    Ok(FileRecord {
        collection: row.get(0)?,
        tenant: row.get(1)?,
        file_name: row.get(2)?,
        storage: row.get(3)?,
        path: row.get(4)?,
        version: row.get(5)?,
        size: get_unsigned(row, 6)?,
        crc: get_unsigned(row, 7)?,
        sha256: row.get(8)?,
        modified: get_time(row, 9)?,
        identity: get_identity(row, 10)?,
    })
}

pub(super) fn identity_values(identity: &Identity) -> [ToSqlOutput<'_>; 6] {
    match identity {
        Identity::Local { device, inode, size, mtime, ctime } => [
            integer(bits(*size)),
            integer(*mtime),
            integer(bits(*device)),
            integer(bits(*inode)),
            integer(*ctime),
            null(),
        ],
        Identity::Object { size, etag, modified } => {
            [integer(bits(*size)), integer(*modified), null(), null(), null(), text(etag)]
        }
    }
}

/// From six columns, `first` among them.
pub(super) fn get_identity(row: &Row<'_>, first: usize) -> rusqlite::Result<Identity> {
    let size = get_unsigned(row, first)?;
    let mtime = row.get(first + 1)?;
    Ok(match row.get(first + 5)? {
        Some(etag) => Identity::Object { size, etag, modified: mtime },
        None => Identity::Local {
            device: get_unsigned(row, first + 2)?,
            inode: get_unsigned(row, first + 3)?,
            size,
            mtime,
            ctime: row.get(first + 4)?,
        },
    })
}

pub(super) fn text(value: &str) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(ValueRef::Text(value.as_bytes()))
}

pub(super) fn integer(value: i64) -> ToSqlOutput<'static> {
    ToSqlOutput::Owned(Value::Integer(value))
}

pub(super) fn null() -> ToSqlOutput<'static> {
    ToSqlOutput::Owned(Value::Null)
}
