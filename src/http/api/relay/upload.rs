//! An upload's form: the one file part goes to the domain as it comes, whatever else is in the form is skipped.

use poem::http::StatusCode;

use super::Target;
use super::messages::UploadForm;
use crate::files::port::FileRecord;
use crate::http::refusal::Refusal;
use crate::http::typed::Multipart;
use crate::upload::WholeIntake;

/// The field that holds the file.
const FIELD: &str = "file";

/// Nothing is published before the form has come to its end.
pub async fn receive(mut form: Multipart<UploadForm>, target: &Target, societe: &str) -> Result<FileRecord, Refusal> {
    let mut received: Option<WholeIntake> = None;
    while let Some(part) = form.next_part().await? {
        // Some generated clients send a text field of the same name before the file.
        let Some(file_name) = part.file_name.filter(|name| part.name == FIELD && !name.is_empty()) else { continue };
        if received.is_some() {
            return Err(Refusal::bad_request("the form has more than one file; send one a request"));
        }
        let uploads = &target.gateway.uploads;
        let mut intake = uploads.whole(&target.collection, societe, &file_name, part.content_type).await?;
        while let Some(bytes) = form.chunk().await? {
            intake.write(bytes).await?;
        }
        received = Some(intake);
    }
    let missing = || Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "the form has no file in its field `file`");
    Ok(received.ok_or_else(missing)?.finish().await?)
}
