//! 1 GiB in chunks of 8 MiB: through dialect B until the last one is acknowledged, and as PUT of the same chunks to nginx. Also the
//! sending that other cases build on.

use std::cell::Cell;
use std::fs;
use std::net::SocketAddr;

use futures_util::future::try_join_all;

use crate::arena::{Arena, Place};
use crate::documents;
use crate::form::{self, Envelope};
use crate::http::Connection;
use crate::measure::{Rounds, Side, sample};
use crate::report::{Report, Row, Unit};
use crate::{Options, Result};

const GIB: u64 = 1 << 30;
const MIB: usize = 1 << 20;

/// A file that is sent in pieces of one size. All its chunks have the same content: nobody looks at it.
pub struct Chunked {
    pub count: usize,
    pub first: usize,
    pub chunk: Vec<u8>,
}

impl Chunked {
    pub fn new(total: u64, chunk: usize, first: usize) -> Self {
        Self { count: total.div_ceil(chunk as u64) as usize, first, chunk: documents::bytes(chunk) }
    }

    pub fn bytes(&self) -> u64 {
        (self.count * self.chunk.len()) as u64
    }

    /// Sends all chunks in order, each on the connection that is free first.
    pub async fn send(
        &self,
        address: SocketAddr,
        connections: usize,
        envelope: impl Fn(usize) -> Envelope,
    ) -> Result<()> {
        let next = Cell::new(0);
        let sender = async || {
            let mut connection = Connection::open(address).await?;
            while next.get() < self.count {
                let number = next.replace(next.get() + 1) + self.first;
                let envelope = envelope(number);
                connection.exchange(&envelope.pieces(&self.chunk)).await?.expect_success()?;
            }
            Result::Ok(())
        };
        try_join_all((0..connections).map(|_| sender())).await.map(drop)
    }

    pub async fn send_to_gateway(&self, arena: &Arena, connections: usize, session: &str) -> Result<()> {
        let envelope = |number| form::chunk(session, number, "film.mp4", self.chunk.len());
        self.send(arena.gateway.address, connections, envelope).await
    }

    /// The chunks of one run lie in one folder.
    pub async fn send_to_nginx(&self, arena: &Arena, connections: usize, run: &str) -> Result<()> {
        let envelope = |number| form::put(&format!("/{run}/{number:06}"), self.chunk.len());
        self.send(arena.nginx.address, connections, envelope).await
    }
}

/// Removes what one run sent, so that the next one measures no write-back of it.
pub async fn forget(arena: &Arena, side: Side, run: &str) -> Result<()> {
    match side {
        Side::Ours => {
            let mut connection = Connection::open(arena.gateway.address).await?;
            connection.delete(&format!("/fileupload/delete_upload/{run}/")).await?.expect_success()?;
        }
        Side::Theirs => fs::remove_dir_all(arena.nginx_root().join(run))?,
    }
    Ok(())
}

pub async fn run(options: &Options, report: &mut Report) -> Result<()> {
    let arena = Arena::start(options, Place::Disk, &[super::WITHOUT_SHA256])?;
    let file = Chunked::new(GIB, 8 * MIB, 0);
    for connections in [1, 4] {
        let mut rounds = Rounds::default();
        for round in 0..=options.rounds {
            for side in Rounds::order(round) {
                let run = format!("chunks-{connections}-{round}");
                let sample = match side {
                    Side::Ours => {
                        sample(&arena.gateway.processes, file.send_to_gateway(&arena, connections, &run)).await?
                    }
                    Side::Theirs => {
                        sample(&arena.nginx.processes, file.send_to_nginx(&arena, connections, &run)).await?
                    }
                };
                forget(&arena, side, &run).await?;
                // The first round warms up.
                if round > 0 {
                    rounds.add(side, sample);
                }
            }
        }
        let work = format!(
            "1 GiB in 8 MiB chunks through B, {connections} connection{}",
            if connections == 1 { "" } else { "s" }
        );
        report.add(Row::compared(work, 0.8, Unit::Bytes(file.bytes()), &rounds));
    }
    Ok(())
}
