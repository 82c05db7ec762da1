//! Normal traffic (uploads of 10 kB through dialect C, and downloads) beside ten hooks that do what they should not, against the same
//! without them. One gateway on a tmpfs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::small::LENGTH;
use crate::arena::{Arena, Place};
use crate::form;
use crate::http::Connection;
use crate::measure::{Latencies, Rounds, Sample, Side, sample};
use crate::pace::Pace;
use crate::receiver::{Manner, Receiver};
use crate::report::{Report, Row};
use crate::{Options, Result, documents};

const TIMES: f64 = 1.25;
/// 200 uploads a second, and as many downloads.
const PACE: Pace = Pace { connections: 2, every: Duration::from_millis(10), lasting: Duration::from_secs(8) };
const WARM_UP: Pace = Pace { lasting: Duration::from_secs(2), ..PACE };
/// So many different files are downloaded in turn.
const FILES: usize = 500;
/// A hook that answers is asked again after so long, from one question to the next.
const ASKED_EVERY: Duration = Duration::from_millis(50);
/// For what the gateway clears away after hooks that it has given up.
const QUIET: Duration = Duration::from_secs(1);

/// A check that has nothing good in mind. It is for files with its name.
struct Hook {
    name: &'static str,
    does: Does,
    /// What the client hears of it; or that it was overdue, where the processors have too much to do.
    answer: &'static str,
}

enum Does {
    /// In `sh`.
    Run(&'static str),
    Receive(Manner),
}

const OVERDUE: &str = "hook-timeout";
const FAILED: &str = "hook-failed";
const ACCEPTED: &str = "file uploaded";

const HOOKS: [Hook; 10] = [
    Hook { name: "loops", does: Does::Run("while :; do :; done"), answer: OVERDUE },
    Hook { name: "deaf", does: Does::Run("trap '' HUP INT QUIT TERM; while :; do :; done"), answer: OVERDUE },
    Hook { name: "leaves", does: Does::Run("for n in 1 2 3 4 5 6 7 8; do sleep 600 & done"), answer: ACCEPTED },
    Hook { name: "forks", does: Does::Run("while :; do /bin/true & /bin/true & wait; done"), answer: OVERDUE },
    Hook { name: "prints", does: Does::Run("exec yes"), answer: FAILED },
    Hook { name: "fills", does: Does::Run("exec cat /dev/zero > large"), answer: FAILED },
    Hook { name: "escapes", does: Does::Run("setsid sh -c 'while :; do :; done' & wait"), answer: OVERDUE },
    Hook { name: "silent", does: Does::Receive(Manner::NeverAnswers), answer: OVERDUE },
    Hook { name: "talks", does: Does::Receive(Manner::AnswersGigabyte), answer: FAILED },
    Hook { name: "moved", does: Does::Receive(Manner::Redirects), answer: FAILED },
];

pub async fn run(options: &Options, report: &mut Report) -> Result<()> {
    let mut settings = Vec::new();
    let mut receivers = Vec::new();
    for Hook { name, does, .. } in &HOOKS {
        match does {
            Does::Run(script) => {
                settings.push(format!("plugin.{name}.kind=command"));
                settings.push(format!("plugin.{name}.command=[\"/bin/sh\", \"-c\", \"{script}\"]"));
            }
            Does::Receive(manner) => {
                let receiver = Receiver::start(*manner)?;
                settings.push(format!("plugin.{name}.kind=webhook"));
                settings.push(format!("plugin.{name}.url=http://{}/", receiver.address));
                settings.push(format!("plugin.{name}.allow_networks=[\"127.0.0.1/32\"]"));
                receivers.push(receiver);
            }
        }
    }
    let uses: Vec<_> = HOOKS
        .iter()
        .map(|Hook { name, .. }| format!("{{ plugin = \"{name}\", files = \"{name}_*\", timeout = \"5s\" }}"))
        .collect();
    settings.push(format!("collection.societes.validate=[\"json\", {}]", uses.join(", ")));
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let arena = Arena::start(options, Place::Tmpfs, &settings)?;
    fill(arena.gateway.address).await?;

    let (mut uploads, mut downloads, mut rounds) = (Rounds::default(), Rounds::default(), Rounds::default());
    for round in 0..=options.rounds {
        for side in Rounds::order(round) {
            let hostile = (side == Side::Ours).then(|| Hostile::begin(arena.gateway.address));
            let turn = traffic(&arena, &format!("hostile-{round}-{side:?}")).await;
            if let Some(hostile) = hostile {
                hostile.end().await?;
                sleep(QUIET).await;
            }
            let (uploaded, downloaded, sample) = turn?;
            if round > 0 {
                uploads.add(side, uploaded);
                downloads.add(side, downloaded);
                rounds.add(side, sample);
            }
        }
    }
    let requests = PACE.requests() * 2;
    let work = |what: &str| format!("{what} of 10 kB beside ten hostile hooks");
    report.add(Row::delayed(work("uploads"), TIMES, &uploads, requests, &rounds));
    report.add(Row::delayed(work("downloads"), TIMES, &downloads, requests, &rounds));
    Ok(())
}

/// What is downloaded later.
async fn fill(address: SocketAddr) -> Result<()> {
    let document = documents::accounts(LENGTH);
    let mut connection = Connection::open(address).await?;
    for number in 0..FILES {
        let envelope = form::file("Acme", &format!("comptes_{number}.json"), document.len());
        connection.exchange(&envelope.pieces(&document)).await?.expect_success()?;
    }
    Ok(())
}

/// One turn: uploads that only `json` looks at, and downloads.
async fn traffic(arena: &Arena, run: &str) -> Result<(Latencies, Latencies, Sample)> {
    let address = arena.gateway.address;
    let document = documents::accounts(LENGTH);
    let both = async |pace: Pace, name: &str| {
        let upload = |number| form::file(run, &format!("{name}_{number}.json"), document.len()).whole(&document);
        let download = |number| form::get(&format!("/api/files/download/Acme/comptes_{}.json", number % FILES));
        tokio::try_join!(pace.send(address, upload), pace.send(address, download))
    };
    both(WARM_UP, "warm").await?;
    let mut latencies = None;
    let sample = sample(&arena.gateway.processes, async {
        latencies = Some(both(PACE, "comptes").await?);
        Ok(())
    })
    .await?;
    let (uploads, downloads) = latencies.ok_or("nothing was measured")?;
    Ok((uploads, downloads, sample))
}

/// The clients of the hostile hooks, one each: all of them run all the time, or again after a moment.
struct Hostile {
    over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Result<()>>>,
}

impl Hostile {
    fn begin(address: SocketAddr) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let client = |hook| tokio::spawn(ask(address, hook, over.clone()));
        Self { clients: HOOKS.iter().map(client).collect(), over }
    }

    /// Waits for those that run.
    async fn end(self) -> Result<()> {
        self.over.store(true, Ordering::Relaxed);
        for client in try_join_all(self.clients).await? {
            client?;
        }
        Ok(())
    }
}

/// Uploads what the hook is for, again and again.
async fn ask(address: SocketAddr, hook: &Hook, over: Arc<AtomicBool>) -> Result<()> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let mut connection = Connection::open(address).await?;
    while !over.load(Ordering::Relaxed) {
        let next = Instant::now() + ASKED_EVERY;
        let name = format!("{}_{}.json", hook.name, NUMBER.fetch_add(1, Ordering::Relaxed));
        let answer = connection.exchange(&[&form::file("Hostile", &name, 2).whole(b"{}")]).await?;
        let body = String::from_utf8_lossy(&answer.body);
        if ![hook.answer, OVERDUE].iter().any(|expected| body.contains(expected)) {
            return Err(format!("`{}` was answered {}: {body}", hook.name, answer.status).into());
        }
        sleep_until(next).await;
    }
    Ok(())
}
