//! The append-only file of a collection: one append is atomic, appends never interleave, and what was acknowledged is
//! there after a crash.
//!
//! A write goes behind the recorded length L, then L moves in one transaction, then the client hears. Bytes behind L
//! were never acknowledged: boot cuts them off, the next append writes over them. A clear commits a new generation and
//! unlinks; it never truncates, so readers of the old file go on undisturbed.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::TryStreamExt;
use jiff::Timestamp;
use parking_lot::Mutex;

use super::Files;
use super::content::MemoryContent;
use super::port::{AppendFile, AppendRecord, AppendSource, CatalogAnswer, Content, Identity, Storage, Utf8State};
use crate::collection::{Collection, PathValues};
use crate::crash;
use crate::events::{EventKind, NewEvent};
use crate::fault::{Fault, FaultKind};
use crate::to_the_end::to_the_end;

/// The open append-only files, by collection.
#[derive(Default)]
pub(super) struct Appenders(Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<Appender>>>>>);

impl Appenders {
    fn of(&self, collection: &Collection) -> Arc<tokio::sync::Mutex<Option<Appender>>> {
        self.0.lock().entry(collection.name.to_string()).or_default().clone()
    }
}

/// The state that the lock guards. Anything that fails half-way drops it, and the next call loads it anew.
struct Appender {
    record: AppendRecord,
    /// What the catalog says: nothing yet, or, after a reload, what it said of another place.
    in_catalog: Option<AppendRecord>,
    file: Option<Arc<dyn AppendFile>>,
}

impl Appender {
    fn recorded(record: AppendRecord, file: Option<Arc<dyn AppendFile>>) -> Self {
        Self { in_catalog: Some(record.clone()), record, file }
    }
}

/// What an append came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    Done {
        /// Bytes of the file now.
        length: u64,
    },
    /// The file would be larger than its collection allows; it is as it was.
    TooLarge { limit: u64 },
}

/// The append-only file at one moment: what is appended later is not read.
pub struct AppendReader {
    /// Bytes.
    pub length: u64,
    pub content: Arc<dyn Content>,
    /// Whether all of it is UTF-8.
    pub utf8: bool,
    /// Changes with each append and clear.
    pub version: String,
    pub modified: Timestamp,
}

impl Files {
    /// Appends the bytes of `source` to the file of `collection`.
    pub async fn append(&self, collection: &Arc<Collection>, source: AppendSource) -> Result<Appended, Fault> {
        let (files, collection) = (self.clone(), collection.clone());
        let work = async move {
            let slot = files.core.appenders.of(&collection);
            let mut slot = slot.lock().await;
            let mut appender = files.take_appender(&collection, &mut slot).await?;
            let answer = files.append_locked(&collection, &mut appender, source).await?;
            *slot = Some(appender);
            Ok(answer)
        };
        to_the_end("append to a file", work).await
    }

    async fn append_locked(
        &self,
        collection: &Collection,
        appender: &mut Appender,
        source: AppendSource,
    ) -> Result<Appended, Fault> {
        let length = match &source {
            AppendSource::Memory(bytes) => bytes.len() as u64,
            AppendSource::Staged(staged) => staged.size,
        };
        let before = appender.record.clone();
        if before.length.saturating_add(length) > collection.max_file_size {
            return Ok(Appended::TooLarge { limit: collection.max_file_size });
        }
        self.record_first(appender).await?;
        let file = match &appender.file {
            Some(file) => file.clone(),
            None => {
                let storage = self.places.storage_of(collection)?;
                storage.append(&before.path, before.inode, before.length, self.core.durable).await?
            }
        };
        file.write_at(before.length, &source).await?;
        crash::point("append.written");
        let mut utf8 = Utf8Check(before.utf8.clone());
        utf8.update_from(source).await?;
        let after = AppendRecord {
            length: before.length + length,
            inode: inode_of(&file.identity()?),
            utf8: utf8.0,
            modified: Timestamp::now(),
            ..before.clone()
        };
        let event = append_event(&after, EventKind::FileAppended);
        match self.core.catalog.appended(Some(&before), after.clone(), Some(event)).await? {
            CatalogAnswer::Done => {
                crash::point("append.committed");
                *appender = Appender::recorded(after, Some(file));
                Ok(Appended::Done { length: appender.record.length })
            }
            CatalogAnswer::Refused => Err(changed_by_another(&before.path)),
        }
    }

    /// A file without a record is taken for one from before the first start. So there is a record before the first byte is
    /// written: what nobody was told of must not be taken up as content after a crash or a refused commit.
    async fn record_first(&self, appender: &mut Appender) -> Result<(), Fault> {
        if appender.in_catalog.as_ref() == Some(&appender.record) {
            return Ok(());
        }
        let record = appender.record.clone();
        match self.core.catalog.appended(appender.in_catalog.as_ref(), record.clone(), None).await? {
            CatalogAnswer::Done => {
                appender.in_catalog = Some(record);
                Ok(())
            }
            CatalogAnswer::Refused => Err(changed_by_another(&record.path)),
        }
    }

    /// Empties the file of `collection`; without one there is nothing to do.
    pub async fn clear(&self, collection: &Arc<Collection>) -> Result<(), Fault> {
        let (files, collection) = (self.clone(), collection.clone());
        let work = async move {
            let slot = files.core.appenders.of(&collection);
            let mut slot = slot.lock().await;
            let mut appender = files.take_appender(&collection, &mut slot).await?;
            files.clear_locked(&collection, &mut appender).await?;
            *slot = Some(appender);
            Ok(())
        };
        to_the_end("clear a file", work).await
    }

    async fn clear_locked(&self, collection: &Collection, appender: &mut Appender) -> Result<(), Fault> {
        let before = appender.record.clone();
        if before.length == 0 {
            return Ok(());
        }
        let after = AppendRecord {
            generation: before.generation + 1,
            length: 0,
            inode: None,
            utf8: Utf8State::Valid { open: Vec::new() },
            modified: Timestamp::now(),
            ..before.clone()
        };
        let event = append_event(&after, EventKind::FileCleared);
        let expected = appender.in_catalog.as_ref();
        if self.core.catalog.appended(expected, after.clone(), Some(event)).await? == CatalogAnswer::Refused {
            return Err(changed_by_another(&before.path));
        }
        crash::point("clear.committed");
        *appender = Appender::recorded(after, None);
        let storage = self.places.storage_of(collection)?;
        remove_unrecorded(&**storage, &before.path, self.core.durable).await
    }

    /// The file of `collection` as it is now. `None`: nothing was appended since it was last cleared.
    pub async fn append_reader(&self, collection: &Arc<Collection>) -> Result<Option<AppendReader>, Fault> {
        let slot = self.core.appenders.of(collection);
        let mut slot = slot.lock().await;
        let mut appender = self.take_appender(collection, &mut slot).await?;
        let record = appender.record.clone();
        if record.length > 0 && appender.file.is_none() {
            let storage = self.places.storage_of(collection)?;
            appender.file = Some(storage.append(&record.path, record.inode, record.length, self.core.durable).await?);
        }
        let content = appender.file.as_ref().map(|file| file.content());
        *slot = Some(appender);
        Ok(content.filter(|_| record.length > 0).map(|content| AppendReader {
            length: record.length,
            content,
            utf8: record.utf8 == Utf8State::Valid { open: Vec::new() },
            version: format!("{}-{}", record.generation, record.length),
            modified: record.modified,
        }))
    }

    /// Cuts the file of a collection at its acknowledged length, and ends a clear that a crash interrupted. At boot.
    pub async fn recover_append(&self, collection: &Arc<Collection>) -> Result<(), Fault> {
        self.append_reader(collection).await.map(drop)
    }

    /// Takes the state out of its slot, loaded from the catalog and the storage if it is not there. While it is out the slot is
    /// empty, so that a failure leaves nothing stale behind. A reload may have put the collection elsewhere: then too it is loaded anew.
    async fn take_appender(&self, collection: &Collection, slot: &mut Option<Appender>) -> Result<Appender, Fault> {
        let path = collection.path.render(PathValues::default());
        match slot.take() {
            Some(appender) if appender.record.path == path && appender.record.storage == *collection.storage => {
                Ok(appender)
            }
            _ => self.load_appender(collection, path).await,
        }
    }

    async fn load_appender(&self, collection: &Collection, path: String) -> Result<Appender, Fault> {
        let storage = self.places.storage_of(collection)?;
        let durable = self.core.durable;
        let record = self.core.catalog.append_record(&collection.name).await?;
        let record = match record {
            Some(record) if record.path == path && record.storage == *collection.storage => record,
            other => return self.adopt_existing(collection, &**storage, path, other).await,
        };
        let Some(inode) = record.inode else {
            // A clear was interrupted before the file was unlinked, or an append before its first commit.
            remove_unrecorded(&**storage, &record.path, durable).await?;
            return Ok(Appender::recorded(record, None));
        };
        let there = storage.stat(&record.path).await?;
        match there {
            Some(found) if inode_of(&found.identity) == Some(inode) && found.identity.size() >= record.length => {
                let file = storage.append(&record.path, Some(inode), record.length, durable).await?;
                Ok(Appender::recorded(record, Some(file)))
            }
            // This file is the gateway's own. Who replaced it took the acknowledged bytes away; what is there now is all that is left.
            _ => {
                tracing::error!(
                    path = record.path,
                    "the append-only file was replaced or cut by another program; what is there now is taken"
                );
                let Appender { record: after, file, .. } =
                    self.adopt_existing(collection, &**storage, path, Some(record.clone())).await?;
                let event = append_event(&after, EventKind::FileCleared);
                let answer = self.core.catalog.appended(Some(&record), after.clone(), Some(event)).await?;
                if answer == CatalogAnswer::Refused {
                    return Err(changed_by_another(&record.path));
                }
                Ok(Appender::recorded(after, file))
            }
        }
    }

    /// The state of a file that has no record: the one that was there before the first start, or none. `in_catalog` is
    /// what its record will replace.
    async fn adopt_existing(
        &self,
        collection: &Collection,
        storage: &dyn Storage,
        path: String,
        in_catalog: Option<AppendRecord>,
    ) -> Result<Appender, Fault> {
        let mut record = AppendRecord {
            collection: collection.name.to_string(),
            storage: collection.storage.to_string(),
            path,
            generation: in_catalog.as_ref().map_or(1, |record| record.generation + 1),
            length: 0,
            inode: None,
            utf8: Utf8State::Valid { open: Vec::new() },
            modified: Timestamp::now(),
        };
        let Some(found) = storage.stat(&record.path).await? else {
            return Ok(Appender { record, in_catalog, file: None });
        };
        record.length = found.identity.size();
        record.inode = inode_of(&found.identity);
        record.modified = found.modified;
        let file = storage.append(&record.path, record.inode, record.length, self.core.durable).await?;
        let mut utf8 = Utf8Check(record.utf8);
        utf8.update_content(file.content(), record.length).await?;
        record.utf8 = utf8.0;
        Ok(Appender { record, in_catalog, file: Some(file) })
    }
}

/// Removes the file at `path`, which no record speaks of.
async fn remove_unrecorded(storage: &dyn Storage, path: &str, durable: bool) -> Result<(), Fault> {
    if let Some(found) = storage.stat(path).await? {
        storage.remove(path, &found.identity, durable).await?;
    }
    Ok(())
}

fn changed_by_another(path: &str) -> Fault {
    Fault::new(FaultKind::Unavailable, format!("append to `{path}`: its record changed meanwhile"))
}

fn inode_of(identity: &Identity) -> Option<(u64, u64)> {
    match identity {
        Identity::Local { device, inode, .. } => Some((*device, *inode)),
        Identity::Object { .. } => None,
    }
}

fn append_event(record: &AppendRecord, kind: EventKind) -> NewEvent {
    NewEvent {
        kind,
        collection: record.collection.clone(),
        tenant: String::new(),
        file_name: record.path.rsplit('/').next().unwrap_or(&record.path).to_owned(),
        version: Some(format!("{}-{}", record.generation, record.length)),
        size: Some(record.length),
        files_count: None,
        at: record.modified,
    }
}

/// Whether bytes that come in pieces are UTF-8.
#[derive(Debug, Clone)]
pub struct Utf8Check(pub Utf8State);

impl Utf8Check {
    pub fn update(&mut self, bytes: &[u8]) {
        let Utf8State::Valid { open } = &mut self.0 else { return };
        let mut rest = bytes;
        while !open.is_empty() && !rest.is_empty() {
            open.push(rest[0]);
            rest = &rest[1..];
            match std::str::from_utf8(open) {
                Ok(_) => open.clear(),
                Err(error) if error.error_len().is_none() => {}
                Err(_) => {
                    self.0 = Utf8State::Invalid;
                    return;
                }
            }
        }
        match simdutf8::compat::from_utf8(rest) {
            Ok(_) => {}
            Err(error) if error.error_len().is_none() => *open = rest[error.valid_up_to()..].to_vec(),
            Err(_) => self.0 = Utf8State::Invalid,
        }
    }

    async fn update_from(&mut self, source: AppendSource) -> Result<(), Fault> {
        match source {
            AppendSource::Memory(bytes) => {
                self.update_content(Arc::new(MemoryContent(bytes.clone())), bytes.len() as u64).await
            }
            AppendSource::Staged(staged) => {
                let size = staged.size;
                self.update_content(Arc::new(super::FileContent::new(staged.file)), size).await
            }
        }
    }

    async fn update_content(&mut self, content: Arc<dyn Content>, length: u64) -> Result<(), Fault> {
        let mut pieces = content.stream(0..length);
        while let Some(piece) = pieces.try_next().await.map_err(|error| Fault::io("read an appended file", error))? {
            self.update(&piece);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_are_utf8_when_the_whole_is(text in "\\PC{0,30}", noise in prop::option::of(any::<u8>()), cuts in prop::collection::vec(0usize..60, 0..5)) {
            let mut whole = text.into_bytes();
            if let Some(byte) = noise {
                whole.insert(whole.len() / 2, byte);
            }
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(whole.len())).chain([0, whole.len()]).collect();
            cuts.sort_unstable();
            let mut check = Utf8Check(Utf8State::Valid { open: Vec::new() });
            for pair in cuts.windows(2) {
                check.update(&whole[pair[0]..pair[1]]);
            }
            let valid = check.0 == Utf8State::Valid { open: Vec::new() };
            prop_assert_eq!(valid, std::str::from_utf8(&whole).is_ok());
        }
    }
}
