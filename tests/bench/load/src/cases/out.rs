//! Downloads: files of 10 kB on 8 connections, and one of 200 MB, against the same bytes from nginx with sendfile.

use std::cell::Cell;
use std::fs;
use std::net::SocketAddr;

use futures_util::future::try_join_all;

use super::small::LENGTH;
use crate::arena::{Arena, Place};
use crate::http::Connection;
use crate::measure::{Rounds, Side, sample};
use crate::report::{Report, Row, Unit};
use crate::{Options, Result, documents, form};

const REQUESTS: usize = 40_000;
const CONNECTIONS: usize = 8;
/// So many different small files are asked for in turn.
const FILES: usize = 500;
/// The large one, so many times a round.
const LARGE: usize = 200_000_000;
const TIMES: usize = 5;

pub async fn run(options: &Options, report: &mut Report) -> Result<()> {
    small(options, report).await?;
    large(options, report).await
}

async fn small(options: &Options, report: &mut Report) -> Result<()> {
    let arena = Arena::start(options, Place::Tmpfs, &[])?;
    let document = documents::accounts(LENGTH);
    for number in 0..FILES {
        put_both(&arena, &format!("comptes_{number}.json"), &document).await?;
    }
    let mut rounds = Rounds::default();
    for round in 0..=options.rounds {
        for side in Rounds::order(round) {
            let server = server(&arena, side);
            let asked = ask(server.address, |number| target(side, &format!("comptes_{}.json", number % FILES)));
            let sample = sample(&server.processes, asked).await?;
            if round > 0 {
                rounds.add(side, sample);
            }
        }
    }
    let work = format!("out: 10 kB, {CONNECTIONS} connections");
    report.add(Row::compared(work, 0.4, Unit::Requests(REQUESTS), &rounds));
    Ok(())
}

async fn large(options: &Options, report: &mut Report) -> Result<()> {
    let arena = Arena::start(options, Place::Disk, &[])?;
    let document = documents::accounts(LARGE);
    put_both(&arena, "comptes_large.json", &document).await?;
    let mut rounds = Rounds::default();
    for round in 0..=options.rounds {
        for side in Rounds::order(round) {
            let server = server(&arena, side);
            let target = target(side, "comptes_large.json");
            let mut connection = Connection::open(server.address).await?;
            let sample = sample(&server.processes, async {
                for _ in 0..TIMES {
                    expect_length(&mut connection, &target, document.len()).await?;
                }
                Ok(())
            })
            .await?;
            if round > 0 {
                rounds.add(side, sample);
            }
        }
    }
    let unit = Unit::Bytes((TIMES * document.len()) as u64);
    report.add(Row::compared("out: one file of 200 MB", 1.0, unit, &rounds));
    Ok(())
}

async fn put_both(arena: &Arena, name: &str, document: &[u8]) -> Result<()> {
    let mut connection = Connection::open(arena.gateway.address).await?;
    let envelope = form::file("Acme", name, document.len());
    connection.exchange(&envelope.pieces(document)).await?.expect_success()?;
    fs::write(arena.nginx_root().join(name), document)?;
    Ok(())
}

fn server(arena: &Arena, side: Side) -> &crate::arena::Server {
    match side {
        Side::Ours => &arena.gateway,
        Side::Theirs => &arena.nginx,
    }
}

fn target(side: Side, name: &str) -> String {
    match side {
        Side::Ours => format!("/api/files/download/Acme/{name}"),
        Side::Theirs => format!("/{name}"),
    }
}

async fn ask(address: SocketAddr, target: impl Fn(usize) -> String) -> Result<()> {
    let next = Cell::new(0);
    let length = documents::accounts(LENGTH).len();
    let asker = async || {
        let mut connection = Connection::open(address).await?;
        while next.get() < REQUESTS {
            let number = next.replace(next.get() + 1);
            expect_length(&mut connection, &target(number), length).await?;
        }
        Result::Ok(())
    };
    try_join_all((0..CONNECTIONS).map(|_| asker())).await.map(drop)
}

async fn expect_length(connection: &mut Connection, target: &str, length: usize) -> Result<()> {
    let answer = connection.get(target).await?.expect_success()?;
    if answer.length == length as u64 { Ok(()) } else { Err(format!("{target} has {} bytes", answer.length).into()) }
}
