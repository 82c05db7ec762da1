//! The rows of published files: written and removed one at a time, listed by name.

use rusqlite::{Connection, params_from_iter};

use super::columns::{get_record, get_time, get_unsigned, record_columns, record_values};
use super::readers::{find, list};
use super::writer::Change;
use crate::files::port::{FileRecord, Page, Totals, Version};

/// Writes a record in the place of the one with the same storage and path. What is served is not unserved.
pub(super) fn write_record(change: &Change<'_>, record: &FileRecord) -> rusqlite::Result<()> {
    change.execute(
        concat!(
            "INSERT OR REPLACE INTO file (",
            record_columns!(),
            ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)"
        ),
        params_from_iter(record_values(record)),
    )?;
    forget_unserved(change, &record.storage, &record.path)
}

pub(super) fn forget_unserved(change: &Change<'_>, storage: &str, path: &str) -> rusqlite::Result<()> {
    change.execute("DELETE FROM unserved WHERE storage = ?1 AND path = ?2", (storage, path))?;
    Ok(())
}

/// Removes a record if it still has that version.
pub(super) fn remove_record(change: &Change<'_>, storage: &str, path: &str, version: &str) -> rusqlite::Result<bool> {
    let removed = change
        .execute("DELETE FROM file WHERE storage = ?1 AND path = ?2 AND version = ?3", (storage, path, version))?;
    Ok(removed == 1)
}

pub(super) fn version_of(change: &Change<'_>, storage: &str, path: &str) -> rusqlite::Result<Option<Version>> {
    change.find("SELECT version FROM file WHERE storage = ?1 AND path = ?2", (storage, path), |row| row.get(0))
}

/// Where a listing goes on. Two files can have one name (their paths tell sessions apart), so a name alone is not enough;
/// but a name alone, as a caller may have it, is a place too: after all files of that name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    file_name: String,
    /// `None`: after all of that name.
    place: Option<(String, String)>,
}

impl Cursor {
    /// `NAME` or `NAME/STORAGE/PATH`: neither names nor storages hold a `/`.
    pub(super) fn parse(text: &str) -> Self {
        let mut pieces = text.splitn(3, '/').map(str::to_owned);
        let file_name = pieces.next().unwrap_or_default();
        Self { file_name, place: pieces.next().zip(pieces.next()) }
    }

    fn after(record: &FileRecord) -> String {
        format!("{}/{}/{}", record.file_name, record.storage, record.path)
    }
}

pub(super) fn files(
    connection: &Connection,
    collection: &str,
    tenant: &str,
    after: &Cursor,
    limit: usize,
) -> rusqlite::Result<Page<FileRecord>> {
    // One more than is given says whether there is a next page.
    let one_more = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let mut rows = match &after.place {
        Some((storage, path)) => list(
            connection,
            concat!(
                "SELECT ",
                record_columns!(),
                " FROM file WHERE collection = ?1 AND tenant = ?2 AND (file_name, storage, path) > (?3, ?4, ?5) \
                 ORDER BY file_name, storage, path LIMIT ?6"
            ),
            (collection, tenant, &after.file_name, storage, path, one_more),
            get_record,
        )?,
        None => list(
            connection,
            concat!(
                "SELECT ",
                record_columns!(),
                " FROM file WHERE collection = ?1 AND tenant = ?2 AND file_name > ?3 \
                 ORDER BY file_name, storage, path LIMIT ?4"
            ),
            (collection, tenant, &after.file_name, one_more),
            get_record,
        )?,
    };
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next = if has_more { rows.last().map(Cursor::after) } else { None };
    Ok(Page { rows, next })
}

/// From one tenant to the next by the index: as many steps as there are tenants, not files.
pub(super) fn tenants(connection: &Connection, collection: &str) -> rusqlite::Result<Vec<String>> {
    let tenants: Vec<Option<String>> = list(
        connection,
        "WITH RECURSIVE each (tenant) AS (
             SELECT min(tenant) FROM file WHERE collection = ?1
             UNION ALL
             SELECT (SELECT min(tenant) FROM file WHERE collection = ?1 AND tenant > each.tenant)
             FROM each WHERE each.tenant IS NOT NULL
         )
         SELECT tenant FROM each",
        [collection],
        |row| row.get(0),
    )?;
    Ok(tenants.into_iter().flatten().collect())
}

pub(super) fn totals(connection: &Connection, collection: &str) -> rusqlite::Result<Totals> {
    let tenants = tenants(connection, collection)?.len() as u64;
    let files =
        find(connection, "SELECT count(*) FROM file WHERE collection = ?1", [collection], |row| get_unsigned(row, 0))?;
    let last_modified = find(
        connection,
        "SELECT modified FROM file WHERE collection = ?1 ORDER BY modified DESC LIMIT 1",
        [collection],
        |row| get_time(row, 0),
    )?;
    Ok(Totals { tenants, files: files.unwrap_or(0), last_modified })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_a_name_or_a_place() {
        let place = Some(("files".to_owned(), "largefiles/a_1.json".to_owned()));
        assert_eq!(Cursor::parse("a.json/files/largefiles/a_1.json"), Cursor { file_name: "a.json".to_owned(), place });
        assert_eq!(Cursor::parse("a.json"), Cursor { file_name: "a.json".to_owned(), place: None });
    }
}
