//! The model: whoever is cut off at random and comes back with the last position that he processed hears exactly the
//! log, or is told to reload; and is told to reload only with reason.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// What may happen to the log and to a client that keeps its position, for the model below.
#[derive(Debug, Clone)]
enum Happening {
    Append {
        collection: usize,
        count: usize,
    },
    Prune {
        share: f64,
    },
    /// Power is lost, with it the last events, and the gateway starts again.
    PowerLoss {
        lost: usize,
    },
    /// The gateway is killed and starts again.
    Restart,
    /// A client connects if it is not, and takes in this many entries of what comes next; then it may be cut off.
    Listen {
        client: usize,
        entries: usize,
        cut_off: bool,
    },
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    use Happening::*;
    let one = prop_oneof![
        6 => (0..3usize, 1..30usize).prop_map(|(collection, count)| Append { collection, count }),
        1 => (0.0..1.0f64).prop_map(|share| Prune { share }),
        1 => (0..5usize).prop_map(|lost| PowerLoss { lost }),
        1 => Just(Restart),
        8 => (0..4usize, 0..40usize, any::<bool>())
            .prop_map(|(client, entries, cut_off)| Listen { client, entries, cut_off }),
    ];
    prop::collection::vec(one, 1..60)
}

const COLLECTIONS: [&str; 3] = ["a", "b", "c"];

/// A client that keeps the last position it processed, and what it heard since it last read everything anew.
struct Client {
    filter: Filter,
    connection: Option<Subscription>,
    position: Position,
    since: Position,
    heard: Vec<Position>,
}

impl Client {
    fn new(number: usize) -> Self {
        let filter = match number {
            0 => Filter::default(),
            number => Filter::collection(COLLECTIONS[number - 1]),
        };
        Self { filter, connection: None, position: 0, since: 0, heard: Vec::new() }
    }

    /// Takes in at most `entries`, or all that there is.
    async fn listen(&mut self, events: &Events, log: &MemoryLog, entries: usize) {
        if self.connection.is_none() {
            let connection = events.subscribe(Some(self.position), self.filter.clone()).await;
            self.connection = Some(connection.expect("the log can be read"));
        }
        let connection = self.connection.as_mut().expect("connected");
        let mut left = entries;
        loop {
            // The tail needs a few turns, and may gather first; nothing else runs, so after these there is nothing more.
            let batch = tokio::time::timeout(Duration::from_millis(10), connection.next_batch()).await;
            match batch {
                Err(_) => return,
                Ok(Ok(Batch::Reload { head })) => {
                    let bounds = log.bounds_now();
                    let is_in_gap = bounds.gaps.iter().any(|(a, b)| *a < self.position && self.position <= *b);
                    assert!(
                        is_in_gap || self.position > bounds.head || self.position < bounds.pruned_to,
                        "told to reload after {} without need: {bounds:?}",
                        self.position
                    );
                    assert_eq!(head, bounds.head);
                    (self.position, self.since) = (head, head);
                    self.heard.clear();
                }
                Ok(Ok(Batch::Entries(batch))) => {
                    assert!(!batch.is_empty());
                    for entry in batch {
                        if left == 0 {
                            // The rest was on its way when the client was cut off.
                            self.connection = None;
                            return;
                        }
                        left -= 1;
                        self.position = entry.position();
                        self.heard.push(entry.position());
                    }
                }
                Ok(other) => panic!("{other:?}"),
            }
        }
    }

    /// What it heard is the log since it last read everything: nothing missing, twice, or in another order.
    fn check(&self, ever: &[(Position, &'static str)], up_to: Position) {
        let expected: Vec<_> = ever
            .iter()
            .filter(|(position, _)| (self.since + 1..=up_to).contains(position))
            .filter(|(_, name)| self.filter.collections.is_empty() || self.filter.collections[0] == *name)
            .map(|(position, _)| *position)
            .collect();
        assert_eq!(self.heard, expected, "since {}", self.since);
    }
}

async fn play(ring: usize, happenings: Vec<Happening>) {
    let mut log = Arc::new(MemoryLog::new());
    let mut events = start_small(&log, ring);
    let mut clients: Vec<Client> = (0..4).map(Client::new).collect();
    let mut ever: Vec<(Position, &'static str)> = Vec::new();
    for happening in happenings {
        match happening {
            Happening::Append { collection, count } => {
                let name = COLLECTIONS[collection];
                ever.extend(append(&log, name, count).into_iter().map(|position| (position, name)));
            }
            Happening::Prune { share } => log.prune_to((log.bounds_now().head as f64 * share) as u64),
            Happening::Restart => {
                events = start_small(&log, ring);
                clients.iter_mut().for_each(|client| client.connection = None);
            }
            Happening::PowerLoss { lost } => {
                log = Arc::new(log.lose(lost));
                let kept: Vec<_> = log.events().iter().map(|event| event.position).collect();
                let last = kept.last().copied().unwrap_or(log.bounds_now().pruned_to);
                ever.retain(|(position, _)| *position <= last);
                events = start_small(&log, ring);
                clients.iter_mut().for_each(|client| client.connection = None);
            }
            Happening::Listen { client, entries, cut_off } => {
                let client = &mut clients[client];
                client.listen(&events, &log, entries).await;
                if cut_off {
                    client.connection = None;
                }
            }
        }
    }
    for client in &mut clients {
        client.listen(&events, &log, usize::MAX).await;
        client.check(&ever, log.bounds_now().head);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn who_is_cut_off_and_comes_back_hears_exactly_the_log(ring in 1..80usize, happenings in happenings()) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime")
            .block_on(play(ring, happenings));
    }
}
