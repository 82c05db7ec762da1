//! The list of completed uploads, written page by page while it is read: there may be more of them than fit in memory.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use poem::Body;

use super::messages::CompletedUpload;
use crate::collection::Collection;
use crate::http::typed::StreamedJson;
use crate::upload::port::UploadRow;
use crate::upload::{UploadError, Uploads};

/// Rows that are in memory at once.
const PAGE: usize = 500;

/// The first page is read before the answer begins, so that a catalog that fails is told in an answer.
pub async fn completed(
    uploads: Uploads,
    collection: Arc<Collection>,
) -> Result<StreamedJson<Vec<CompletedUpload>>, UploadError> {
    let first = uploads.stored(&collection, None, PAGE).await?;
    let pages = stream::try_unfold(Some((first, true)), move |page| {
        let (uploads, collection) = (uploads.clone(), collection.clone());
        async move {
            let Some((rows, is_first)) = page else { return Ok(None) };
            let next = match rows.last() {
                Some(last) if rows.len() == PAGE => {
                    let rows = uploads.stored(&collection, Some(last.id), PAGE).await;
                    Some((rows.map_err(io::Error::other)?, false))
                }
                _ => None,
            };
            let text = written(rows, is_first, next.is_none())?;
            Ok::<_, io::Error>(Some((text, next)))
        }
    });
    Ok(StreamedJson::new(Body::from_bytes_stream(pages)))
}

/// A page's piece of the array.
fn written(rows: Vec<UploadRow>, is_first: bool, is_last: bool) -> io::Result<Bytes> {
    let mut text = Vec::with_capacity(rows.len() * 200 + 2);
    let mut separator = if is_first { b'[' } else { b',' };
    if is_first && rows.is_empty() {
        text.push(separator);
    }
    for row in rows {
        text.push(separator);
        separator = b',';
        serde_json::to_writer(&mut text, &CompletedUpload::from(row))?;
    }
    if is_last {
        text.push(b']');
    }
    Ok(text.into())
}
