//! Single uploads of 10 kB through dialect C beside 10,000 follow-ups that are owed to a receiver which is down, against the same
//! uploads where nothing is owed; and how fast these are delivered when the receiver is there again. Two gateways on a tmpfs.

use std::time::{Duration, Instant};

use super::small::{self, LENGTH};
use crate::arena::{Gateways, Place, Server};
use crate::form::{self, Numbered};
use crate::http::Connection;
use crate::measure::{Latencies, Rounds, Side, sample};
use crate::pace::Pace;
use crate::receiver::{Down, Manner};
use crate::report::{Report, Row, Target, mebibytes};
use crate::usage::Watch;
use crate::{Options, Result, documents};

const OWED: usize = 10_000;
const TIMES: f64 = 1.1;
/// 400 uploads a second.
const PACE: Pace = Pace { connections: 4, every: Duration::from_millis(10), lasting: Duration::from_secs(5) };
/// Uploads before a turn is measured, to a server that has just stood still.
const WARM_UP: Pace = Pace { lasting: Duration::from_millis(500), ..PACE };
/// Of all that is owed.
const DELIVERY: Duration = Duration::from_secs(300);

/// How a use of the hook is retried.
struct Retry {
    work: &'static str,
    /// As it stands in the configuration.
    setting: &'static str,
    /// Whether all of it is due again within seconds, so that a delivery can be waited for.
    is_short: bool,
}

const RETRIES: [Retry; 2] = [
    Retry { work: "the default `retry`", setting: "", is_short: false },
    Retry {
        work: "`retry` each second",
        setting: ", retry = [\"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\", \"1s\"]",
        is_short: true,
    },
];

pub async fn run(options: &Options, report: &mut Report) -> Result<()> {
    for retry in &RETRIES {
        measure(options, report, retry).await?;
    }
    Ok(())
}

async fn measure(options: &Options, report: &mut Report, Retry { work, setting, is_short }: &Retry) -> Result<()> {
    let down = Down::new()?;
    let settings = [
        "plugin.erp.kind=webhook".to_owned(),
        format!("plugin.erp.url=http://{}/", down.address),
        "plugin.erp.allow_networks=[\"127.0.0.1/32\"]".to_owned(),
        format!("collection.societes.post_assembly=[{{ plugin = \"erp\", files = \"owed_*\"{setting} }}]"),
    ];
    let settings = settings.each_ref().map(String::as_str);
    let gateways = Gateways::start(options, Place::Tmpfs, &settings, &settings)?;
    // Both have as many files, and one owes something for them.
    for (side, name, owed) in [(Side::Theirs, "free", 0), (Side::Ours, "owed", OWED)] {
        let (server, _) = gateways.turn(side);
        let document = documents::accounts(LENGTH);
        let name = format!("{name}_{}.json", Numbered::DIGITS);
        let request = form::file("Acme", &name, document.len()).whole(&document);
        small::send(server.address, 8, OWED, request).await?;
        expect_owed(server, owed).await?;
    }

    let (mut latencies, mut rounds, mut attempts) = (Rounds::default(), Rounds::default(), 0);
    for round in 0..=options.rounds {
        for side in Rounds::order(round) {
            let (server, other) = gateways.turn(side);
            // Its attempts would be in the other's measurement.
            other.pause()?;
            server.resume()?;
            let attempts_before = put_off(&gateways)?;
            let (turn, sample) = upload(server, &format!("owed-{round}")).await?;
            if round > 0 {
                latencies.add(side, turn);
                rounds.add(side, sample);
                attempts += if side == Side::Ours { put_off(&gateways)? - attempts_before } else { 0 };
            }
        }
    }
    gateways.ours.resume()?;
    expect_owed(&gateways.ours, OWED).await?;
    let measured: f64 = rounds.ours.iter().map(|sample| sample.seconds).sum();
    let rate = attempts as f64 / measured;
    if rate < 1.0 {
        return Err("nothing that is owed was tried meanwhile".into());
    }
    let work_here = format!("an upload of 10 kB beside {OWED} owed, {work}: tried {rate:.0} times a second");
    report.add(Row::delayed(work_here, TIMES, &latencies, PACE.requests(), &rounds));
    if *is_short {
        deliver(report, &gateways.ours, down).await?;
    }
    Ok(())
}

/// One turn: uploads of names that the hook is not for.
async fn upload(server: &Server, run: &str) -> Result<(Latencies, crate::measure::Sample)> {
    let document = documents::accounts(LENGTH);
    let request = |pace: &'static str| {
        let document = &document;
        move |number| form::file(run, &format!("comptes_{pace}_{number}.json"), document.len()).whole(document)
    };
    WARM_UP.send(server.address, request("warm")).await?;
    let mut latencies = None;
    let sample = sample(&server.processes, async {
        latencies = Some(PACE.send(server.address, request("paced")).await?);
        Ok(())
    })
    .await?;
    Ok((latencies.ok_or("nothing was measured")?, sample))
}

/// How often an attempt has failed so far.
fn put_off(gateways: &Gateways) -> Result<usize> {
    Ok(gateways.log(Side::Ours)?.matches("owed work is put off").count())
}

/// Starts the receiver, and waits until all of it is delivered.
async fn deliver(report: &mut Report, server: &Server, down: Down) -> Result<()> {
    let watch = Watch::begin(&server.processes);
    let begun = Instant::now();
    let receiver = down.start(Manner::Takes)?;
    let mut first = None;
    while receiver.told() < OWED {
        if receiver.told() > 0 {
            first.get_or_insert_with(|| begun.elapsed());
        }
        if begun.elapsed() > DELIVERY {
            return Err(format!("{} of {OWED} were delivered within {DELIVERY:?}", receiver.told()).into());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let took = begun.elapsed().as_secs_f64();
    let (cpu, memory) = watch.end();
    tokio::time::sleep(Duration::from_secs(1)).await;
    expect_owed(server, 0).await?;
    report.add(Row {
        work: format!("{OWED} that are owed delivered, once the receiver is there"),
        target: Target::Told("/s"),
        measured: OWED as f64 / took,
        cpu: format!("{:.0} µs each", cpu / OWED as f64 * 1e6),
        memory: mebibytes(memory),
        detail: format!("in {took:.2} s, the first after {:.0} ms", first.unwrap_or_default().as_secs_f64() * 1e3),
    });
    Ok(())
}

#[derive(serde::Deserialize)]
struct Hooks {
    hooks: Vec<Hook>,
}

#[derive(serde::Deserialize)]
struct Hook {
    owed: usize,
    running: usize,
    dead: usize,
}

async fn expect_owed(server: &Server, expected: usize) -> Result<()> {
    let answer = Connection::open(server.address).await?.get("/v1/admin/hooks").await?.expect_success()?;
    let Hooks { hooks } = serde_json::from_slice(&answer.body)?;
    let owed: usize = hooks.iter().map(|hook| hook.owed + hook.running).sum();
    let dead: usize = hooks.iter().map(|hook| hook.dead).sum();
    match (owed, dead) {
        (owed, 0) if owed == expected => Ok(()),
        _ => Err(format!("{owed} are owed and {dead} given up, and not {expected} owed").into()),
    }
}
