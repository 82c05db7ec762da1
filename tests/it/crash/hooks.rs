//! Files arrive that have a good, a slow and a failing hook, under checks that refuse some of them, and the gateway is killed all the time: often
//! while a hook runs. Each follow-up that was owed runs at least once, nothing unchecked is ever seen, and the dead letters are those of the hook
//! that always fails.
//!
//! `TIDEGATE_KILLS` says how often (`tests/run` wants two hundred), `TIDEGATE_CRASH_SEED` repeats what the clients send.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::{FutureExt, join_all};
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate::follow_ups::port::Catalog;
use tokio::time::{sleep, timeout};

use super::gateway::{Gateway, Gone, catalog_left, log_path};
use super::random::Random;
use super::receiver::{DENIED, Receiver};

/// As many as the fast tests have time for.
const KILLS: usize = 20;
const CLIENTS: usize = 4;
/// Of each client in a round.
const FILES: usize = 4;
const SOCIETES: [&str; 3] = ["Société Générale", "b", "c"];
/// The waits of hooks that succeed in the end: more than there can be kills within one run.
const PATIENT: &str =
    r#"["20ms", "20ms", "20ms", "20ms", "20ms", "50ms", "50ms", "50ms", "50ms", "50ms", "100ms", "100ms", "100ms"]"#;

struct World {
    folder: TempDir,
    receiver: Receiver,
    files: usize,
    /// Files that the gateway said it took.
    taken: Vec<(String, String)>,
    refused: usize,
    denied: usize,
    looks: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follow_ups_survive_kills() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let kills = number("TIDEGATE_KILLS").map_or(KILLS, |kills| kills as usize);
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = number("TIDEGATE_CRASH_SEED").unwrap_or_else(now);
    println!("TIDEGATE_CRASH_SEED={seed}");
    let mut random = Random::new(seed);
    let mut world = World {
        folder: tempfile::tempdir().unwrap(),
        receiver: Receiver::start().await,
        files: 0,
        taken: Vec::new(),
        refused: 0,
        denied: 0,
        looks: 0,
    };
    let mut gateway = world.start();
    let mut while_running = 0;
    for round in 0..kills {
        world.load_until_killed(&gateway, round, &mut random).await;
        gateway.died(&format!("round {round} of {seed}")).await;
        let (catalog, _copy) = catalog_left(world.folder.path());
        let left = catalog.hook_counts().await.unwrap();
        drop(catalog);
        let owed: u64 = left.iter().map(|counts| counts.owed + counts.running).sum();
        assert!(owed > 0, "nothing was owed at kill {round}: {left:?}");
        while_running += usize::from(left.iter().any(|counts| counts.running > 0));
        gateway = world.start();
    }
    let told = world.check(&gateway).await;
    let World { taken, refused, denied, looks, .. } = &world;
    println!(
        "{kills} kills, {while_running} of them while a hook ran; {} files taken, {refused} refused, {denied} denied; \
         {told} publications told of; {looks} looks at files",
        taken.len()
    );
    assert!(while_running * 10 >= kills, "only {while_running} of {kills} kills came while a hook ran");
    assert!(refused + denied > 0 && *looks > 0, "the clients had nothing to do");
}

impl World {
    fn start(&self) -> Gateway {
        let mut settings: Vec<String> = ["policy", "review", "good", "slow", "failing"]
            .iter()
            .flat_map(|name| self.receiver.plugin(name))
            .collect();
        settings.push("plugin.review.content=base64".to_owned());
        settings.push("collection.societes.admit=[\"policy\"]".to_owned());
        settings.push("collection.societes.validate=[\"json\", \"review\"]".to_owned());
        settings.push(format!(
            "collection.societes.post_assembly=[{{ plugin = \"good\", retry = {PATIENT} }}, {{ plugin = \"slow\", retry = \
             {PATIENT} }}, {{ plugin = \"failing\", retry = [\"50ms\", \"300ms\", \"1s\"] }}]"
        ));
        Gateway::start_with(self.folder.path(), None, &settings)
    }

    async fn load_until_killed(&mut self, gateway: &Gateway, round: usize, random: &mut Random) {
        let first = self.files;
        self.files += CLIENTS * FILES;
        let clients = (0..CLIENTS).map(|client| send(gateway, first + client * FILES, random.fork()));
        let clients = join_all(clients);
        let mut choice = random.fork();
        let kill = async {
            if !round.is_multiple_of(4) {
                // Amid a hook's run.
                let _ = timeout(Duration::from_secs(5), self.receiver.slow_run()).await;
                sleep(Duration::from_micros(choice.below(60_000))).await;
            } else {
                sleep(Duration::from_micros(20_000 + choice.below(300_000))).await;
            }
            gateway.strike();
        };
        let (_, sent, looks) = tokio::join!(kill, clients, look_all_the_time(gateway, random.fork()).boxed());
        self.looks += looks;
        for (taken, refused, denied) in sent {
            self.taken.extend(taken);
            self.refused += refused;
            self.denied += denied;
        }
    }

    /// Waits until nothing is owed, and compares what was told with what was published. Gives how many publications there were.
    async fn check(&self, gateway: &Gateway) -> usize {
        let begun = Instant::now();
        loop {
            let hooks = gateway.read_json("/v1/admin/hooks").await;
            let hooks = hooks["hooks"].as_array().unwrap();
            let count = |hook: &Value, state: &str| hook[state].as_u64().unwrap();
            if hooks.iter().all(|hook| count(hook, "owed") + count(hook, "running") == 0) {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(120), "still owed: {hooks:?}");
            sleep(Duration::from_millis(50)).await;
        }
        let published = published(gateway).await;
        for (societe, name) in &self.taken {
            assert!(published.iter().any(|event| (&event.0, &event.1) == (societe, name)), "{societe}/{name} is gone");
        }
        for (societe, name, version) in &published {
            for hook in ["good", "slow", "failing"] {
                assert!(self.receiver.runs(hook, version) > 0, "{hook} was never told of {societe}/{name}");
            }
        }
        let mut expected: Vec<(String, &str)> =
            published.iter().map(|(_, _, version)| ("societes/failing".to_owned(), version.as_str())).collect();
        let dead = dead_letters(gateway).await;
        let mut found: Vec<(String, &str)> = dead.iter().map(|(hook, version)| (hook.clone(), &**version)).collect();
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "the dead letters are not those of the hook that fails");
        published.len()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(log_path(self.folder.path())).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the gateway's last words:\n{}", lines[lines.len().saturating_sub(20)..].join("\n"));
        }
    }
}

type Sent = (Vec<(String, String)>, usize, usize);

/// Sends files until the gateway is gone, and says which it took, and how many it refused and denied.
async fn send(gateway: &Gateway, first: usize, mut random: Random) -> Sent {
    let mut sent: Sent = (Vec::new(), 0, 0);
    for number in first..first + FILES {
        let (is_good, is_denied) = (!random.one_in(4), random.one_in(8));
        let societe = SOCIETES[random.below(3) as usize];
        let name = format!("{}comptes_{number}.json", if is_denied { DENIED } else { "" });
        match put(gateway, societe, &name, is_good, &mut random).await {
            Err(Gone) => break,
            Ok(403) if is_denied => sent.2 += 1,
            Ok(422) if !is_good && !is_denied => sent.1 += 1,
            Ok(200) if is_good && !is_denied => sent.0.push((societe.to_owned(), name)),
            Ok(status) => panic!("{status} for {name}, which is good: {is_good}"),
        }
    }
    sent
}

async fn put(gateway: &Gateway, societe: &str, name: &str, is_good: bool, random: &mut Random) -> Result<u16, Gone> {
    let length = if random.one_in(4) { 70_000 + random.below(100_000) } else { random.below(5_000) } as usize;
    let content = json!({ "good": is_good, "filling": "ä".repeat(length / 2) }).to_string().into_bytes();
    let part = reqwest::multipart::Part::bytes(content).file_name(name.to_owned());
    let form = reqwest::multipart::Form::new().part("file", part);
    let told = gateway.tell(gateway.post(&format!("/api/files/upload/{societe}")).multipart(form)).await?;
    Ok(told.status)
}

/// Lists and downloads until the gateway is gone. Whatever is seen has been checked, and is whole. Gives how many files were looked at.
async fn look_all_the_time(gateway: &Gateway, mut random: Random) -> usize {
    let mut looks = 0;
    loop {
        let societe = SOCIETES[random.below(3) as usize];
        let Ok(told) = gateway.look(&format!("/api/files/societe/{societe}/files")).await else { return looks };
        let Ok(listed) = serde_json::from_str::<Value>(&told.text) else { continue };
        let Some(files) = listed["files"].as_array().filter(|files| !files.is_empty()) else { continue };
        // The latest ones are those that something could be wrong with.
        for _ in 0..4 {
            let file = &files[random.below(files.len() as u64) as usize];
            let name = file["filename"].as_str().unwrap();
            assert!(!name.starts_with(DENIED), "{name} was denied, and is listed");
            let Ok(told) = gateway.look(&format!("/api/files/download/{societe}/{name}")).await else { return looks };
            if told.status != 200 || told.text.len() as u64 != file["size"].as_u64().unwrap() {
                // Broken off by the kill.
                assert!(gateway.is_struck(), "{societe}/{name}: {} with {} bytes", told.status, told.text.len());
                return looks;
            }
            let document: Value = serde_json::from_str(&told.text).unwrap();
            assert_eq!(document["good"], true, "{societe}/{name} was refused, and is served");
            looks += 1;
        }
    }
}

/// Company, name and version of everything that was ever published.
async fn published(gateway: &Gateway) -> Vec<(String, String, String)> {
    let mut published = Vec::new();
    let mut after = 0;
    loop {
        let path = format!("/v1/events?after={after}&limit=256&type=file_uploaded&collection=societes");
        let page = gateway.read_json(&path).await;
        for event in page["events"].as_array().unwrap() {
            let text = |key: &str| event[key].as_str().unwrap().to_owned();
            published.push((text("tenant"), text("file_name"), text("version")));
        }
        after = page["next"].as_u64().unwrap();
        if page["next"] == page["head"] {
            return published;
        }
    }
}

/// Hook and event of every dead letter.
async fn dead_letters(gateway: &Gateway) -> Vec<(String, String)> {
    let mut letters = Vec::new();
    let mut after = 0;
    loop {
        let page = gateway.read_json(&format!("/v1/admin/follow-ups?state=dead&limit=500&after={after}")).await;
        for letter in page["follow_ups"].as_array().unwrap() {
            let text = |key: &str| letter[key].as_str().unwrap().to_owned();
            letters.push((text("hook"), text("event_id")));
        }
        match page["next"].as_i64() {
            Some(next) => after = next,
            None => return letters,
        }
    }
}
