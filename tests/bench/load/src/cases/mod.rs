//! What is measured: one file a row of the table in the README.

mod assembly;
mod chunks;
mod digest;
mod document;
mod events;
mod hostile;
mod out;
mod owed;
mod schema;
mod small;

use crate::report::Report;
use crate::{Options, Result};

pub const NAMES: [&str; 10] =
    ["chunks", "assembly", "digest", "document", "small", "out", "events", "schema", "owed", "hostile"];

/// Checks are of each collection's own; these measure without SHA-256 where the table does not ask for it.
const WITHOUT_SHA256: &str = "collection.largefiles.digest=crc64";

pub async fn run(name: &str, options: &Options, report: &mut Report) -> Result<()> {
    match name {
        "chunks" => chunks::run(options, report).await,
        "assembly" => assembly::run(options, report).await,
        "digest" => digest::run(options, report).await,
        "document" => document::run(options, report).await,
        "small" => small::run(options, report).await,
        "out" => out::run(options, report).await,
        "events" => events::run(options, report).await,
        "schema" => schema::run(options, report).await,
        "owed" => owed::run(options, report).await,
        "hostile" => hostile::run(options, report).await,
        other => Err(format!("there is no `{other}`").into()),
    }
}
