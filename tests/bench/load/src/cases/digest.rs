//! 1 GiB in order through dialect B with SHA-256, until it is stored; against PUT of the chunks to nginx and then `sha256sum` over
//! them.

use std::process::Command;

use super::assembly;
use super::chunks::{Chunked, forget};
use crate::arena::{Arena, Place};
use crate::http::Connection;
use crate::measure::{Rounds, Side, sample};
use crate::report::{Report, Row, Unit};
use crate::usage::cpu_of_ended_children;
use crate::{Options, Result};

pub async fn run(options: &Options, report: &mut Report) -> Result<()> {
    let arena = Arena::start(options, Place::Disk, &["collection.largefiles.digest=sha256"])?;
    let file = Chunked::new(1 << 30, 8 << 20, 0);
    let mut rounds = Rounds::default();
    for round in 0..=options.rounds {
        for side in Rounds::order(round) {
            let run = format!("digest-{round}");
            let sample = match side {
                Side::Ours => {
                    sample(&arena.gateway.processes, async {
                        file.send_to_gateway(&arena, 1, &run).await?;
                        let mut connection = Connection::open(arena.gateway.address).await?;
                        assembly::complete(&mut connection, &run).await
                    })
                    .await?
                }
                Side::Theirs => {
                    let before = cpu_of_ended_children();
                    let mut sample = sample(&arena.nginx.processes, async {
                        file.send_to_nginx(&arena, 1, &run).await?;
                        sha256sum(&arena, &run)
                    })
                    .await?;
                    sample.cpu += cpu_of_ended_children() - before;
                    sample
                }
            };
            forget(&arena, side, &run).await?;
            if round > 0 {
                rounds.add(side, sample);
            }
        }
    }
    let work = "1 GiB in order through B with SHA-256, until `completed`";
    report.add(Row::compared(work, 1.0, Unit::Bytes(file.bytes()), &rounds));
    Ok(())
}

fn sha256sum(arena: &Arena, run: &str) -> Result<()> {
    let summed =
        Command::new("sh").args(["-c", "sha256sum -- *"]).current_dir(arena.nginx_root().join(run)).output()?;
    if summed.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&summed.stderr).into()) }
}
