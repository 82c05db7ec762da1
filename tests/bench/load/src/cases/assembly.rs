//! From `complete` to `completed`: how long the client waits for assembly once its bytes are there.

use std::time::{Duration, Instant};

use super::chunks::{Chunked, forget};
use crate::arena::{Arena, Place};
use crate::form;
use crate::http::Connection;
use crate::measure::{Side, median};
use crate::report::{Report, Row, Target};
use crate::{Options, Result};

const MIB: usize = 1 << 20;
const TARGET_MS: f64 = 50.0;
/// How often the status is asked for.
const POLL: Duration = Duration::from_millis(1);

/// Completes an upload and waits until it is stored.
pub async fn complete(connection: &mut Connection, session: &str) -> Result<()> {
    connection.exchange(&[&form::complete(session)]).await?.expect_success()?;
    loop {
        let answer = connection.get(&format!("/fileupload/assembly_status/{session}/")).await?.expect_success()?;
        let answer: Status = serde_json::from_slice(&answer.body)?;
        match answer.status.as_str() {
            "completed" => return Ok(()),
            "in_progress" => tokio::time::sleep(POLL).await,
            other => return Err(format!("the upload is {other}").into()),
        }
    }
}

#[derive(serde::Deserialize)]
struct Status {
    status: String,
}

pub async fn run(options: &Options, report: &mut Report) -> Result<()> {
    measure(options, report, &[super::WITHOUT_SHA256], "").await?;
    measure(options, report, &[], ", with SHA-256").await
}

async fn measure(options: &Options, report: &mut Report, settings: &[&str], note: &str) -> Result<()> {
    let arena = Arena::start(options, Place::Disk, settings)?;
    for (size, total) in [("20 MiB", 20 << 20), ("2 GiB", 2u64 << 30)] {
        for chunk in [1, 5] {
            for first in [0, 1] {
                let file = Chunked::new(total, chunk * MIB, first);
                let mut waits = Vec::new();
                for round in 0..options.rounds {
                    let session = format!("assembly-{total}-{chunk}-{first}-{round}");
                    file.send_to_gateway(&arena, 4, &session).await?;
                    let mut connection = Connection::open(arena.gateway.address).await?;
                    let begun = Instant::now();
                    complete(&mut connection, &session).await?;
                    waits.push(begun.elapsed().as_secs_f64() * 1e3);
                    forget(&arena, Side::Ours, &session).await?;
                }
                let longest = waits.iter().copied().fold(0.0, f64::max);
                report.add(Row {
                    work: format!("`complete` to `completed`: {size} in {chunk} MiB chunks from {first}{note}"),
                    target: Target::Under(TARGET_MS, "ms"),
                    measured: median(waits.into_iter()),
                    cpu: String::new(),
                    memory: String::new(),
                    detail: format!("longest {longest:.1} ms"),
                });
            }
        }
    }
    Ok(())
}
