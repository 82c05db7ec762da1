//! JSON files of 10 kB through dialect C, checked by `json` and by a schema of the `json-schema` plugin, against the same checked by
//! `json` alone: what the schema costs. Two gateways on a tmpfs.

use std::fs;

use super::small::{self, LENGTH};
use crate::arena::{Gateways, Place, Server};
use crate::form::{self, Numbered};
use crate::http::{Answer, Connection};
use crate::measure::{Rounds, Sample, Side, sample};
use crate::report::{Report, Row};
use crate::{Options, Result, documents};

/// In a turn; each side has several in a round, for what one upload costs differs from one moment to the next by more than is measured.
const REQUESTS: usize = 4_000;
const TURNS: usize = 5;
const CONNECTIONS: usize = 8;
const MICROSECONDS: f64 = 40.0;

/// An example of the plugin's, and documents that it allows.
struct Example {
    schema: &'static str,
    document: fn(usize) -> Vec<u8>,
}

const EXAMPLES: [Example; 2] = [
    Example { schema: "comptes", document: documents::comptes },
    Example { schema: "ecritures", document: documents::ecritures },
];

pub async fn run(options: &Options, report: &mut Report) -> Result<()> {
    for example in &EXAMPLES {
        measure(options, report, example).await?;
    }
    Ok(())
}

async fn measure(options: &Options, report: &mut Report, Example { schema, document }: &Example) -> Result<()> {
    let folder = fs::canonicalize(&options.config)?.with_file_name("plugins/json-schema/examples");
    let path = folder.join(format!("{schema}.schema.json"));
    let settings = [
        format!("plugin.{schema}.kind=json-schema"),
        format!("plugin.{schema}.schema={}", path.display()),
        format!("collection.societes.validate=[\"json\", \"{schema}\"]"),
    ];
    let gateways = Gateways::start(options, Place::Tmpfs, &settings.each_ref().map(String::as_str), &[])?;
    let document = document(LENGTH);
    expect_check(&gateways, &document).await?;
    let mut rounds = Rounds::default();
    for round in 0..=options.rounds {
        let mut turns = Rounds::default();
        for turn in 0..TURNS {
            for side in Rounds::order(round + turn) {
                let (server, _) = gateways.turn(side);
                let run = format!("schema-{round}-{turn}");
                let name = format!("{schema}_{}.json", Numbered::DIGITS);
                let request = form::file(&run, &name, document.len()).whole(&document);
                let sending = small::send(server.address, CONNECTIONS, REQUESTS, request);
                turns.add(side, sample(&server.processes, sending).await?);
                // Nobody asks for this company again.
                fs::remove_dir_all(gateways.societes(side).join(&run))?;
            }
        }
        if round > 0 {
            rounds.add(Side::Ours, Sample::sum(&turns.ours));
            rounds.add(Side::Theirs, Sample::sum(&turns.theirs));
        }
    }
    let work = format!("10 kB JSON through C, {CONNECTIONS} connections: `{schema}.schema.json` besides `json`, CPU");
    report.add(Row::dearer(work, MICROSECONDS, REQUESTS * TURNS, &rounds));
    Ok(())
}

/// A schema that looks at nothing would cost nothing: with its very last amount under another name the document is JSON still, and not
/// allowed any more.
async fn expect_check(gateways: &Gateways, document: &[u8]) -> Result<()> {
    const MEMBER: &[u8] = b"\"debit\"";
    let last = document.windows(MEMBER.len()).rposition(|window| window == MEMBER).ok_or("no amount in it")?;
    let mut wrong = document.to_vec();
    wrong[last..last + MEMBER.len()].copy_from_slice(b"\"debut\"");
    upload(&gateways.theirs, &wrong).await?.expect_success()?;
    match upload(&gateways.ours, &wrong).await?.status {
        400..500 => Ok(()),
        status => Err(format!("a document that the schema does not allow was answered {status}").into()),
    }
}

async fn upload(server: &Server, document: &[u8]) -> Result<Answer> {
    let envelope = form::file("Acme", "wrong.json", document.len());
    Connection::open(server.address).await?.exchange(&envelope.pieces(document)).await
}
