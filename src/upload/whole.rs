//! A file that comes whole in one request: received, checked and published on the spot, while its client waits for the verdict. There
//! is no upload to come back to; the publication's intent is all that a crash leaves, and boot discards it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};

use super::Uploads;
use super::admission::Admitted;
use super::error::{UploadError, check_extension};
use super::front::Front;
use super::port::{Candidate, SpoolFile, Verdict};
use crate::collection::{Collection, PathValues};
use crate::crash;
use crate::digest::Crc;
use crate::files::port::{Content, FileRecord, Staged, Storage};
use crate::files::{FileContent, MemoryContent, NewFile, Published};
use crate::name;
use crate::to_the_end::to_the_end;

/// Up to here a file stays in memory until it is known to be good: one write then makes it.
const SMALL: usize = 64 * 1024;

/// A whole file that is being received. Dropping it leaves no trace.
pub struct WholeIntake {
    uploads: Uploads,
    collection: Arc<Collection>,
    storage: Arc<dyn Storage>,
    tenant: String,
    file_name: String,
    content_type: Option<String>,
    path: String,
    body: Body,
    crc: Crc,
    front: Option<Front>,
    length: u64,
}

enum Body {
    Memory(BytesMut),
    File(Arc<dyn SpoolFile>),
}

impl Uploads {
    /// Begins to receive a whole file, if its collection's hooks admit it. `tenant`, `file_name` and the media type are as the client sent
    /// them.
    pub async fn whole(
        &self,
        collection: &Arc<Collection>,
        tenant: &str,
        file_name: &str,
        content_type: Option<String>,
    ) -> Result<WholeIntake, UploadError> {
        let (tenant, file_name) = (name::tenant(tenant)?, name::file_name(file_name)?);
        check_extension(collection, &file_name)?;
        let storage = self.files.places().storage_of(collection)?.clone();
        let Admitted { file_name, content_type } =
            self.admit(collection, &tenant, &file_name, None, content_type).await?;
        let path = collection.path.render(PathValues { tenant: &tenant, file_name: &file_name, session_id: "" });
        Ok(WholeIntake {
            uploads: self.clone(),
            storage,
            front: collection.sha256.then(Front::default),
            collection: collection.clone(),
            tenant,
            file_name,
            content_type,
            path,
            body: Body::Memory(BytesMut::new()),
            crc: Crc::default(),
            length: 0,
        })
    }
}

impl WholeIntake {
    /// Takes the next bytes.
    pub async fn write(&mut self, data: Bytes) -> Result<(), UploadError> {
        let end = self.length + data.len() as u64;
        if end > self.collection.max_file_size {
            return Err(UploadError::TooLarge { limit: self.collection.max_file_size });
        }
        self.crc.update(&data);
        if let Body::Memory(held) = &mut self.body {
            if held.len() + data.len() <= SMALL {
                held.extend_from_slice(&data);
                self.length = end;
                return Ok(());
            }
            let held = held.split().freeze();
            let file = self.uploads.core.staging.create_whole().await?;
            file.clone().write_at(0, held, Arc::new(())).await?;
            self.body = Body::File(file);
        }
        if let Body::File(file) = &self.body {
            file.clone().write_at(self.length, data, Arc::new(())).await?;
            if let Some(front) = &self.front {
                front.advance(&file.file(), end);
            }
        }
        self.length = end;
        Ok(())
    }

    /// All bytes have come: validates and publishes. From here on the work is finished also when the client goes away.
    pub async fn finish(self) -> Result<FileRecord, UploadError> {
        to_the_end("publish a file", self.finish_here()).await
    }

    async fn finish_here(mut self) -> Result<FileRecord, UploadError> {
        let body = std::mem::replace(&mut self.body, Body::Memory(BytesMut::new()));
        let (staged, file) = match body {
            Body::Memory(held) => self.check_small(held.freeze()).await?,
            Body::File(file) => self.check_large(file).await?,
        };
        let published = self
            .uploads
            .files
            .publish(NewFile {
                collection: &self.collection,
                storage: self.storage.clone(),
                tenant: &self.tenant,
                file_name: &self.file_name,
                path: &self.path,
                staged,
                upload: None,
                exclusive: false,
            })
            .await?;
        // What was displaced lies at the staging file's path now, or nothing does: the handle removes it.
        drop(file);
        match published {
            Published::Stored(record) => Ok(*record),
            Published::Occupied | Published::Refused => {
                Err(UploadError::Conflict("the file's place was taken meanwhile".to_owned()))
            }
        }
    }

    async fn check_small(&self, bytes: Bytes) -> Result<(Staged, Arc<dyn SpoolFile>), UploadError> {
        self.validate(Arc::new(MemoryContent(bytes.clone()))).await?;
        let file = self.uploads.core.staging.create_whole().await?;
        let sha256 = self.front.is_some().then(|| Sha256::digest(&bytes).into());
        file.clone().write_at(0, bytes, Arc::new(())).await?;
        Ok((self.staged(&file, sha256), file))
    }

    async fn check_large(&self, file: Arc<dyn SpoolFile>) -> Result<(Staged, Arc<dyn SpoolFile>), UploadError> {
        file.clone().seal().await;
        let hash = async {
            match &self.front {
                Some(front) => front.finish(file.file(), self.length, false).await.map(Some).map_err(UploadError::from),
                None => Ok(None),
            }
        };
        let content = Arc::new(FileContent::new(file.file()));
        let (sha256, ()) = futures_util::try_join!(hash, self.validate(content))?;
        Ok((self.staged(&file, sha256), file))
    }

    fn staged(&self, file: &Arc<dyn SpoolFile>, sha256: Option<[u8; 32]>) -> Staged {
        Staged { path: file.path(), file: file.file(), size: self.length, crc: self.crc.finish(), sha256 }
    }

    async fn validate(&self, content: Arc<dyn Content>) -> Result<(), UploadError> {
        let candidate = Candidate {
            collection: self.collection.name.to_string(),
            tenant: self.tenant.clone(),
            file_name: self.file_name.clone(),
            size: self.length,
            content_type: self.content_type.clone(),
            content,
        };
        crash::point("validate.begun");
        let hooks = &self.uploads.files.places().hooks;
        let verdict = hooks.validate(&self.collection.validate, &candidate).await;
        crash::point("validate.done");
        match verdict {
            Verdict::Accept => Ok(()),
            Verdict::Reject(issues) => Err(UploadError::Rejected(issues)),
        }
    }
}
