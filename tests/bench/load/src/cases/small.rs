//! JSON files of 10 kB through dialect C (checked, stored, catalogued, announced), against PUT of the same to new names at nginx.
//! Both on a tmpfs.

use std::cell::Cell;
use std::fs;
use std::net::SocketAddr;

use futures_util::future::try_join_all;

use crate::arena::{Arena, Place};
use crate::form::Numbered;
use crate::http::Connection;
use crate::measure::{Rounds, Side, sample};
use crate::report::{Report, Row, Unit};
use crate::{Options, Result, documents, form};

const REQUESTS: usize = 20_000;
pub const LENGTH: usize = 10_000;

pub async fn run(options: &Options, report: &mut Report) -> Result<()> {
    let arena = Arena::start(options, Place::Tmpfs, &[])?;
    let document = documents::accounts(LENGTH);
    for connections in [8, 64] {
        let mut rounds = Rounds::default();
        for round in 0..=options.rounds {
            for side in Rounds::order(round) {
                let run = format!("small-{connections}-{round}");
                let name = format!("comptes_{}.json", Numbered::DIGITS);
                let sample = match side {
                    Side::Ours => {
                        let request = form::file(&run, &name, document.len()).whole(&document);
                        let sending = send(arena.gateway.address, connections, REQUESTS, request);
                        let sample = sample(&arena.gateway.processes, sending).await?;
                        // Nobody asks for this company again.
                        fs::remove_dir_all(arena.societes().join(&run))?;
                        sample
                    }
                    Side::Theirs => {
                        let request = form::put(&format!("/{run}/{name}"), document.len()).whole(&document);
                        let sending = send(arena.nginx.address, connections, REQUESTS, request);
                        let sample = sample(&arena.nginx.processes, sending).await?;
                        fs::remove_dir_all(arena.nginx_root().join(&run))?;
                        sample
                    }
                };
                if round > 0 {
                    rounds.add(side, sample);
                }
            }
        }
        let work = format!("10 kB JSON through C, {connections} connections");
        report.add(Row::compared(work, 0.4, Unit::Requests(REQUESTS), &rounds));
    }
    Ok(())
}

/// Sends the request so many times, each time with another number in its name.
pub async fn send(address: SocketAddr, connections: usize, times: usize, request: Vec<u8>) -> Result<()> {
    let request = Numbered::new(request)?;
    let next = Cell::new(0);
    let sender = async || {
        let mut connection = Connection::open(address).await?;
        let mut request = request.clone();
        while next.get() < times {
            let number = next.replace(next.get() + 1);
            connection.exchange(&[request.with(number)]).await?.expect_success()?;
        }
        Result::Ok(())
    };
    try_join_all((0..connections).map(|_| sender())).await.map(drop)
}
