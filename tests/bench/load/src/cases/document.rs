//! One JSON document of 256 MiB through dialect C, checked and stored, against `serde_json` that only looks for its end, over the
//! same bytes in memory.

use std::time::Instant;

use serde::de::IgnoredAny;

use crate::arena::{Arena, Place};
use crate::http::Connection;
use crate::measure::{Rounds, Sample, Side, sample};
use crate::report::{Report, Row, Unit};
use crate::{Options, Result, documents, form};

pub async fn run(options: &Options, report: &mut Report) -> Result<()> {
    let arena = Arena::start(options, Place::Disk, &[])?;
    let document = documents::accounts(256 << 20);
    let mut rounds = Rounds::default();
    for round in 0..=options.rounds {
        for side in Rounds::order(round) {
            let sample = match side {
                Side::Ours => upload(&arena, &document, round).await?,
                Side::Theirs => parse(&document)?,
            };
            if round > 0 {
                rounds.add(side, sample);
            }
        }
    }
    let work = "a JSON document of 256 MiB through C : `IgnoredAny` over it in memory";
    report.add(Row::compared(work, 0.35, Unit::Bytes(document.len() as u64), &rounds));
    Ok(())
}

async fn upload(arena: &Arena, document: &[u8], round: usize) -> Result<Sample> {
    let name = format!("comptes_{round}.json");
    let envelope = form::file("Acme", &name, document.len());
    let mut connection = Connection::open(arena.gateway.address).await?;
    let sample = sample(&arena.gateway.processes, async {
        connection.exchange(&envelope.pieces(document)).await?.expect_success()?;
        Ok(())
    })
    .await?;
    connection.delete(&format!("/api/files/delete/Acme/{name}")).await?.expect_success()?;
    Ok(sample)
}

/// In one thread, so the time is the processor time too.
fn parse(document: &[u8]) -> Result<Sample> {
    let begun = Instant::now();
    serde_json::from_slice::<IgnoredAny>(document)?;
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Sample { seconds, cpu: seconds, memory: 0 })
}
