//! Records of published files, with the event and the follow-ups of each change; intents; what is left unserved; append-only files.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, Row, params_from_iter};

use super::columns::{
    bits, get_identity, get_record, get_unsigned, identity_values, integer, null, parse, record_columns, record_values,
    text, unknown_value,
};
use super::readers::list;
use super::records::{self, forget_unserved, remove_record, version_of, write_record};
use super::writer::Change;
use super::{Sqlite, appends, events, follow_ups, uploads};
use crate::events::{NewEvent, Position};
use crate::fault::Fault;
use crate::files::port::{
    AppendRecord, Catalog, CatalogAnswer, FileRecord, Identity, Intent, IntentAction, Mark, Page, Publication, Totals,
    Unserved, UploadId, Version,
};

#[async_trait]
impl Catalog for Sqlite {
    async fn declare(&self, intent: Intent) -> Result<i64, Fault> {
        self.write("declare an intent", move |change| declare(change, &intent)).await
    }

    async fn withdraw(&self, intent: i64) -> Result<(), Fault> {
        self.write("withdraw an intent", move |change| withdraw(change, intent)).await
    }

    async fn intents(&self) -> Result<Vec<Intent>, Fault> {
        self.readers.page("read intents", intents).await
    }

    async fn publish(&self, publication: Publication) -> Result<CatalogAnswer, Fault> {
        self.write("publish a file", move |change| publish(change, &publication)).await
    }

    async fn unpublish(
        &self,
        intent: Option<i64>,
        record: &FileRecord,
        event: NewEvent,
    ) -> Result<CatalogAnswer, Fault> {
        let (storage, path, version) = (record.storage.clone(), record.path.clone(), record.version.clone());
        self.write("remove a file's record", move |change| {
            if !remove_record(change, &storage, &path, &version)? {
                return Ok(CatalogAnswer::Refused);
            }
            events::write(change, &event)?;
            if let Some(intent) = intent {
                forget_upload_of(change, intent)?;
                withdraw(change, intent)?;
            }
            Ok(CatalogAnswer::Done)
        })
        .await
    }

    async fn file(&self, storage: &str, path: &str) -> Result<Option<FileRecord>, Fault> {
        self.readers.find(
            "look up a file",
            concat!("SELECT ", record_columns!(), " FROM file WHERE storage = ?1 AND path = ?2"),
            (storage, path),
            get_record,
        )
    }

    async fn files(
        &self,
        collection: &str,
        tenant: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<FileRecord>, Fault> {
        let (collection, tenant) = (collection.to_owned(), tenant.to_owned());
        let after = records::Cursor::parse(after.unwrap_or_default());
        self.readers
            .page("list files", move |connection| records::files(connection, &collection, &tenant, &after, limit))
            .await
    }

    async fn tenants(&self, collection: &str) -> Result<Vec<String>, Fault> {
        let collection = collection.to_owned();
        self.readers.page("list tenants", move |connection| records::tenants(connection, &collection)).await
    }

    async fn totals(&self, collection: &str) -> Result<Totals, Fault> {
        let collection = collection.to_owned();
        self.readers.page("count files", move |connection| records::totals(connection, &collection)).await
    }

    async fn adopt(
        &self,
        record: FileRecord,
        replaces: Option<&Version>,
        event: NewEvent,
        follow_ups: Vec<Arc<str>>,
    ) -> Result<CatalogAnswer, Fault> {
        let replaces = replaces.cloned();
        self.write("record a file that was found", move |change| {
            if version_of(change, &record.storage, &record.path)? != replaces {
                return Ok(CatalogAnswer::Refused);
            }
            write_record(change, &record)?;
            events::write(change, &event)?;
            follow_ups::owe(change, &record, &follow_ups, event.at)?;
            Ok(CatalogAnswer::Done)
        })
        .await
    }

    async fn refresh_identity(&self, record: &FileRecord, identity: &Identity) -> Result<(), Fault> {
        let (storage, path, version) = (record.storage.clone(), record.path.clone(), record.version.clone());
        let identity = identity.clone();
        self.write("note a file's identity", move |change| {
            let key = [text(&storage), text(&path), text(&version)];
            change.execute(
                "UPDATE file SET identity_size = ?4, mtime = ?5, device = ?6, inode = ?7, ctime = ?8, etag = ?9
                 WHERE storage = ?1 AND path = ?2 AND version = ?3",
                params_from_iter(key.into_iter().chain(identity_values(&identity))),
            )?;
            Ok(())
        })
        .await
    }

    async fn shun(&self, file: Unserved, former: Option<(FileRecord, NewEvent)>) -> Result<(), Fault> {
        self.write("note a file that is not served", move |change| shun(change, &file, former.as_ref())).await
    }

    async fn forget_unserved(&self, storage: &str, path: &str) -> Result<(), Fault> {
        let (storage, path) = (storage.to_owned(), path.to_owned());
        self.write("forget a file that is not served", move |change| forget_unserved(change, &storage, &path)).await
    }

    async fn unserved(&self, collection: &str, tenant: &str) -> Result<Vec<Unserved>, Fault> {
        let (collection, tenant) = (collection.to_owned(), tenant.to_owned());
        self.readers
            .page("list files that are not served", move |connection| {
                list(
                    connection,
                    "SELECT collection, tenant, file_name, storage, path,
                            identity_size, mtime, device, inode, ctime, etag, reason
                     FROM unserved WHERE collection = ?1 AND tenant = ?2 ORDER BY file_name",
                    (&collection, &tenant),
                    get_unserved,
                )
            })
            .await
    }

    async fn announce(&self, event: NewEvent) -> Result<Position, Fault> {
        self.write("write an event", move |change| events::write(change, &event)).await
    }

    async fn append_record(&self, collection: &str) -> Result<Option<AppendRecord>, Fault> {
        self.readers.find(
            "look up an append-only file",
            "SELECT collection, storage, path, generation, length, device, inode, utf8_open, modified
             FROM append_file WHERE collection = ?1",
            [collection],
            appends::get_append,
        )
    }

    async fn appended(
        &self,
        before: Option<&AppendRecord>,
        after: AppendRecord,
        event: Option<NewEvent>,
    ) -> Result<CatalogAnswer, Fault> {
        let before = before.map(|record| (record.generation, record.length));
        self.write("record what was appended", move |change| {
            let now = change.find(
                "SELECT generation, length FROM append_file WHERE collection = ?1",
                [&after.collection],
                |row| Ok((row.get(0)?, get_unsigned(row, 1)?)),
            )?;
            if now != before {
                return Ok(CatalogAnswer::Refused);
            }
            appends::write_append(change, &after)?;
            if let Some(event) = &event {
                events::write(change, event)?;
            }
            Ok(CatalogAnswer::Done)
        })
        .await
    }
}

// ---------------------------------------------------------------------------------------------------------
// Publication and delete

fn declare(change: &Change<'_>, intent: &Intent) -> rusqlite::Result<i64> {
    let (mark, device, inode) = match intent.mark {
        Mark::Inode { device, inode } => ("inode", integer(bits(device)), integer(bits(inode))),
        Mark::Version => ("version", null(), null()),
        Mark::Content => ("content", null(), null()),
    };
    let action = match intent.action {
        IntentAction::Publish => "publish",
        IntentAction::Delete => "delete",
    };
    let upload = intent.upload.map_or(null(), |id| integer(id.0));
    let own: [ToSqlOutput<'_>; 5] = [text(action), upload, text(mark), device, inode];
    change.insert(
        concat!(
            "INSERT INTO intent (",
            record_columns!(),
            ", action, upload, mark, mark_device, mark_inode) VALUES \
             (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)"
        ),
        params_from_iter(record_values(&intent.record).into_iter().chain(own)),
    )
}

fn withdraw(change: &Change<'_>, intent: i64) -> rusqlite::Result<()> {
    change.execute("DELETE FROM intent WHERE id = ?1", [intent])?;
    Ok(())
}

fn forget_upload_of(change: &Change<'_>, intent: i64) -> rusqlite::Result<()> {
    let upload: Option<Option<i64>> =
        change.find("SELECT upload FROM intent WHERE id = ?1", [intent], |row| row.get(0))?;
    match upload.flatten() {
        Some(upload) => uploads::forget(change, UploadId(upload)),
        None => Ok(()),
    }
}

fn intents(connection: &Connection) -> rusqlite::Result<Vec<Intent>> {
    let sql = concat!(
        "SELECT ",
        record_columns!(),
        ", id, action, upload, mark, mark_device, mark_inode FROM intent ORDER BY id"
    );
    list(connection, sql, [], get_intent)
}

fn get_intent(row: &Row<'_>) -> rusqlite::Result<Intent> {
    let mark: String = row.get(19)?;
    Ok(Intent {
        id: row.get(16)?,
        action: parse(row, 17, |action: String| match action.as_str() {
            "publish" => Some(IntentAction::Publish),
            "delete" => Some(IntentAction::Delete),
            _ => None,
        })?,
        record: get_record(row)?,
        mark: match mark.as_str() {
            "inode" => Mark::Inode { device: get_unsigned(row, 20)?, inode: get_unsigned(row, 21)? },
            "version" => Mark::Version,
            "content" => Mark::Content,
            _ => return Err(unknown_value(row, 19)),
        },
        upload: row.get::<_, Option<i64>>(18)?.map(UploadId),
    })
}

fn publish(change: &mut Change<'_>, publication: &Publication) -> rusqlite::Result<CatalogAnswer> {
    let Publication { intent, record, event, upload, follow_ups } = publication;
    if let Some(upload) = upload
        && !uploads::store(change, *upload, &record.version, record.size, event.at)?
    {
        return Ok(CatalogAnswer::Refused);
    }
    write_record(change, record)?;
    events::write(change, event)?;
    follow_ups::owe(change, record, follow_ups, event.at)?;
    withdraw(change, *intent)?;
    Ok(CatalogAnswer::Done)
}

// ---------------------------------------------------------------------------------------------------------
// What other programs did

/// A file is either served or not: where another version took the place meanwhile, there is nothing to note.
fn shun(change: &mut Change<'_>, file: &Unserved, former: Option<&(FileRecord, NewEvent)>) -> rusqlite::Result<()> {
    if let Some((record, event)) = former
        && remove_record(change, &record.storage, &record.path, &record.version)?
    {
        events::write(change, event)?;
    }
    if version_of(change, &file.storage, &file.path)?.is_some() {
        return Ok(());
    }
    let names = [&file.collection, &file.tenant, &file.file_name, &file.storage, &file.path].map(|name| text(name));
    change.execute(
        "INSERT OR REPLACE INTO unserved (collection, tenant, file_name, storage, path,
                                          identity_size, mtime, device, inode, ctime, etag, reason)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params_from_iter(names.into_iter().chain(identity_values(&file.identity)).chain([text(&file.reason)])),
    )?;
    Ok(())
}

fn get_unserved(row: &Row<'_>) -> rusqlite::Result<Unserved> {
    Ok(Unserved {
        collection: row.get(0)?,
        tenant: row.get(1)?,
        file_name: row.get(2)?,
        storage: row.get(3)?,
        path: row.get(4)?,
        identity: get_identity(row, 5)?,
        reason: row.get(11)?,
    })
}
