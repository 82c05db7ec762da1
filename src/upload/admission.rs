//! Whether a file may be sent at all, asked of the collection's admission hooks on what its client says of it: of a whole file with the
//! request that brings it, of an upload in parts once its name is known.

use super::Uploads;
use super::active::path_of;
use super::error::{UploadError, check_extension};
use super::port::{Announced, Named};
use crate::collection::Collection;
use crate::crash;
use crate::files::port::{Admission, Announcement};

/// What a file is known by from here on.
pub(super) struct Admitted {
    pub file_name: String,
    pub content_type: Option<String>,
}

impl Uploads {
    /// Asks the hooks. What they amend is held to what the collection takes.
    pub(super) async fn admit(
        &self,
        collection: &Collection,
        tenant: &str,
        file_name: &str,
        size: Option<u64>,
        content_type: Option<String>,
    ) -> Result<Admitted, UploadError> {
        if collection.admit.is_empty() {
            return Ok(Admitted { file_name: file_name.to_owned(), content_type });
        }
        let announcement = Announcement {
            collection: collection.name.to_string(),
            tenant: tenant.to_owned(),
            file_name: file_name.to_owned(),
            size,
            content_type,
        };
        let admission = self.files.places().hooks.admit(&collection.admit, announcement).await;
        crash::point("admit.done");
        match admission {
            Admission::Allow { file_name, content_type } => {
                check_extension(collection, &file_name)?;
                Ok(Admitted { file_name, content_type })
            }
            Admission::Deny(denial) => Err(UploadError::Denied(denial)),
        }
    }

    /// Admits an upload in parts, and gives the path that it gets. `None`: its name is not known yet.
    pub(super) async fn name_upload(
        &self,
        collection: &Collection,
        announced: &Announced,
        session: &str,
    ) -> Result<Option<Named>, UploadError> {
        let Some(announced_as) = announced.file_name.as_deref() else { return Ok(None) };
        let admitted = self.admit(collection, "", announced_as, announced.size, None).await?;
        let path = path_of(collection, &admitted.file_name, session)?;
        let admitted_as = Some(admitted.file_name).filter(|admitted_as| admitted_as != announced_as);
        Ok(Some(Named { path, admitted_as }))
    }
}
