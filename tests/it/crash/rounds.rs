//! Fifty rounds of `kill -9` at random moments, under clients of all three dialects at once. `TIDEGATE_CRASH_SEED` repeats what the
//! clients send and when the kills come, as far as the machine's scheduling lets it.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::{BoxFuture, FutureExt, join_all};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::appends::Appends;
use super::documents::Document;
use super::gateway::{Gateway, Gone};
use super::random::Random;
use super::uploads::Upload;
use super::world::World;

const ROUNDS: usize = 50;
/// Clients of each dialect.
const CLIENTS: usize = 2;
/// Of each client of the relay.
const DOCUMENTS: usize = 6;
/// Of each client of the upload in chunks. Every check asks after all that there ever were.
const NEW_UPLOADS_A_ROUND: usize = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_kills_at_random_moments() {
    let given = std::env::var("TIDEGATE_CRASH_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let seed = given.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64);
    println!("TIDEGATE_CRASH_SEED={seed}");
    let mut world = World::new(seed).await;
    for index in 0..CLIENTS * DOCUMENTS {
        let societe = ["Société Générale", "b", "c"][index % 3];
        world.documents.push(Document::new(societe, &format!("comptes_{index}.json")));
    }
    let mut states = BTreeSet::new();
    let mut rounds_with_acknowledged = 0;
    let mut gateway = world.start(None);
    for round in 0..ROUNDS {
        let before = world.acknowledged();
        world.load_until_killed(&gateway, round).await;
        gateway.died(&format!("round {round} of {seed}")).await;
        rounds_with_acknowledged += usize::from(world.acknowledged() > before);
        states.extend(world.states_left().await);
        gateway = world.start(None);
        world.check(&gateway, false).await;
    }
    world.check(&gateway, true).await;
    println!("{} acknowledged, {} events, uploads {states:?}", world.acknowledged(), world.events());
    for state in ["receiving", "received", "stored"] {
        assert!(states.contains(state), "no kill found an upload {state}: {states:?}");
    }
    assert!(rounds_with_acknowledged > ROUNDS / 2, "only {rounds_with_acknowledged} rounds had anything acknowledged");
}

impl World {
    async fn load_until_killed(&mut self, gateway: &Gateway, round: usize) {
        let mut random = self.random.fork();
        let completed = Notify::new();
        let (receiving, mut uploads): (Vec<Upload>, Vec<Upload>) =
            std::mem::take(&mut self.uploads).into_iter().partition(Upload::is_receiving);
        let mut queues: [Vec<Upload>; CLIENTS] = Default::default();
        for (index, upload) in receiving.into_iter().enumerate() {
            queues[index % CLIENTS].push(upload);
        }
        for queue in &mut queues {
            queue.extend((0..NEW_UPLOADS_A_ROUND).map(|_| self.new_upload()));
        }
        let mut clients: Vec<BoxFuture<'_, Result<(), Gone>>> = Vec::new();
        for queue in &mut queues {
            clients.push(upload_all(gateway, queue, random.fork(), &completed).boxed());
        }
        for documents in self.documents.chunks_mut(DOCUMENTS) {
            clients.push(change_documents(gateway, documents, random.fork()).boxed());
        }
        for _ in 0..CLIENTS {
            clients.push(append(gateway, &self.appends, random.fork()).boxed());
        }
        let kill = async {
            if round.is_multiple_of(3) {
                // Amid an assembly, if there is one.
                let _ = timeout(Duration::from_secs(1), completed.notified()).await;
                sleep(Duration::from_micros(random.below(8_000))).await;
            } else {
                sleep(Duration::from_micros(random.below(400_000))).await;
            }
            gateway.strike();
        };
        let clients = clients.into_iter().map(|client| async {
            let ended = client.await;
            assert!(ended.is_ok() || gateway.is_struck(), "the gateway went away before it was killed");
        });
        tokio::join!(kill, join_all(clients));
        uploads.extend(queues.into_iter().flatten());
        self.uploads = uploads;
    }
}

async fn upload_all(
    gateway: &Gateway,
    uploads: &mut [Upload],
    mut random: Random,
    completed: &Notify,
) -> Result<(), Gone> {
    for upload in uploads {
        upload.send_missing(gateway).await?;
        if random.one_in(10) {
            upload.delete(gateway).await?;
            continue;
        }
        upload.complete(gateway).await?;
        completed.notify_one();
        if !random.one_in(5) {
            upload.wait_until_stored(gateway).await?;
        }
        if random.one_in(3) {
            upload.delete(gateway).await?;
        }
    }
    Ok(())
}

async fn change_documents(gateway: &Gateway, documents: &mut [Document], mut random: Random) -> Result<(), Gone> {
    loop {
        let document = &mut documents[random.below(DOCUMENTS as u64) as usize];
        if document.content.is_some() && random.one_in(4) {
            document.delete(gateway).await?;
        } else {
            let large = random.one_in(5);
            document.put(gateway, &mut random, large).await?;
        }
    }
}

async fn append(gateway: &Gateway, appends: &Appends, mut random: Random) -> Result<(), Gone> {
    loop {
        match random.one_in(40) {
            true => appends.clear(gateway).await?,
            false => appends.append(gateway, &mut random).await?,
        }
    }
}
