//! Finds the addresses of names. Where no name server answers, that is the matter of those who ask this receiver, and of nobody else.
//!
//! The system's lookup keeps its thread for as long as it likes, 10 to 30 seconds without a name server, also when nobody waits for it any
//! more. The runtime's threads for such calls are those that disks are read and written on, and stopping waits for them. So a lookup has a
//! thread of its own, and there is one at a time for a name: whoever asks meanwhile gets its result, too.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::watch;

/// Finds the addresses of a name, and keeps its thread for that long.
pub(crate) type Lookup = Arc<dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// What all who wait for a lookup get.
pub(crate) type Found = Result<Vec<SocketAddr>, Arc<io::Error>>;

/// As this machine finds them.
pub(crate) fn system_lookup() -> Lookup {
    Arc::new(|host| Ok((host, 0).to_socket_addrs()?.collect()))
}

/// The lookups of one instance. Its URL has one host, so it has one lookup under way at most.
pub(crate) struct Lookups {
    lookup: Lookup,
    /// The last of each name. Its channel is closed, or has a result, once it is over.
    last: Mutex<HashMap<String, watch::Receiver<Found>>>,
}

impl Lookups {
    pub(crate) fn new(lookup: Lookup) -> Self {
        Self { lookup, last: Mutex::default() }
    }

    /// Asks anew, unless that is being done already. Dropped, it leaves the lookup to those who come later.
    pub(crate) async fn find(&self, host: &str) -> Found {
        let mut coming = self.under_way(host)?;
        // A lookup that panics closes the channel, which then has what it was made with.
        let _ = coming.changed().await;
        coming.borrow().clone()
    }

    fn under_way(&self, host: &str) -> io::Result<watch::Receiver<Found>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(coming) = last.get(host)
            && matches!(coming.has_changed(), Ok(false))
        {
            return Ok(coming.clone());
        }
        let (result, coming) = watch::channel(Err(Arc::new(io::Error::other("looking the name up broke off"))));
        let (lookup, name) = (self.lookup.clone(), host.to_owned());
        thread::Builder::new().name("webhook-lookup".to_owned()).spawn(move || {
            let _ = result.send(lookup(&name).map_err(Arc::new));
        })?;
        last.insert(host.to_owned(), coming.clone());
        Ok(coming)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{self, Sender};
    use std::task::{Context, Waker};
    use std::time::{Duration, Instant};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);
    const HOST: &str = "a.example";

    /// What a lookup does that is let go.
    enum Does {
        Find(&'static str),
        Fail,
        Panic,
    }

    /// Lookups that take until they are let go, and how many were begun.
    struct Slow {
        lookups: Lookups,
        let_go: Sender<Does>,
        begun: Arc<AtomicUsize>,
    }

    impl Slow {
        fn new() -> Self {
            let (let_go, told) = mpsc::channel::<Does>();
            let (told, begun) = (Mutex::new(told), Arc::new(AtomicUsize::new(0)));
            let counter = begun.clone();
            let lookup: Lookup = Arc::new(move |host| {
                assert_eq!(host, HOST);
                assert_eq!(thread::current().name(), Some("webhook-lookup"));
                counter.fetch_add(1, Ordering::SeqCst);
                let does = told.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(PATIENCE).unwrap();
                match does {
                    Does::Find(address) => Ok(vec![address.parse().unwrap()]),
                    Does::Fail => Err(io::Error::other("no such name")),
                    Does::Panic => panic!("the lookup panics, as it should"),
                }
            });
            Self { lookups: Lookups::new(lookup), let_go, begun }
        }

        /// Has asked when it returns. Dropped, it has given up.
        fn ask(&self) -> Pin<Box<dyn Future<Output = Found> + '_>> {
            let mut asking = Box::pin(self.lookups.find(HOST));
            assert!(asking.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            asking
        }

        fn begun(&self) -> usize {
            self.begun.load(Ordering::SeqCst)
        }

        async fn until_begun(&self, number: usize) {
            let started = Instant::now();
            while self.begun() < number {
                assert!(started.elapsed() < PATIENCE, "{} lookups were begun", self.begun());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }

    fn is(found: Found, address: &str) -> bool {
        found.is_ok_and(|found| found == [address.parse().unwrap()])
    }

    #[tokio::test]
    async fn whoever_asks_while_a_lookup_is_under_way_waits_for_the_same() {
        let slow = Slow::new();
        for _ in 0..100 {
            drop(slow.ask());
        }
        slow.until_begun(1).await;
        let askers: Vec<_> = (0..100).map(|_| slow.ask()).collect();
        slow.let_go.send(Does::Find("192.0.2.1:0")).unwrap();
        for asker in askers {
            assert!(is(asker.await, "192.0.2.1:0"));
        }
        assert_eq!(slow.begun(), 1);
    }

    #[tokio::test]
    async fn a_lookup_that_is_over_is_not_used_again() {
        let slow = Slow::new();
        for address in ["192.0.2.1:0", "192.0.2.2:0"] {
            slow.let_go.send(Does::Find(address)).unwrap();
            assert!(is(slow.lookups.find(HOST).await, address));
        }
        // Also where nobody was there to hear its result.
        drop(slow.ask());
        slow.let_go.send(Does::Find("192.0.2.3:0")).unwrap();
        let last = slow.lookups.last.lock().unwrap()[HOST].clone();
        while matches!(last.has_changed(), Ok(false)) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        slow.let_go.send(Does::Find("192.0.2.4:0")).unwrap();
        assert!(is(slow.lookups.find(HOST).await, "192.0.2.4:0"));
        assert_eq!(slow.begun(), 4);
    }

    #[tokio::test]
    async fn one_that_fails_or_panics_fails_for_all_who_wait_and_the_next_asks_anew() {
        let slow = Slow::new();
        for (number, (does, said)) in
            [(Does::Fail, "no such name"), (Does::Panic, "looking the name up broke off")].into_iter().enumerate()
        {
            let askers = [slow.ask(), slow.ask(), slow.ask()];
            slow.until_begun(number + 1).await;
            slow.let_go.send(does).unwrap();
            for asker in askers {
                assert_eq!(asker.await.unwrap_err().to_string(), said);
            }
        }
        slow.let_go.send(Does::Find("192.0.2.1:0")).unwrap();
        assert!(is(slow.lookups.find(HOST).await, "192.0.2.1:0"));
        assert_eq!(slow.begun(), 3);
    }

    /// The runtime waits for the calls on its own threads.
    #[test]
    fn stopping_waits_for_no_lookup() {
        let slow = Slow::new();
        let started = Instant::now();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async { drop(slow.ask()) });
        drop(runtime);
        assert!(started.elapsed() < PATIENCE / 2);
        slow.let_go.send(Does::Find("192.0.2.1:0")).unwrap();
    }

    #[tokio::test]
    async fn the_system_finds_names_and_addresses() {
        let lookups = Lookups::new(system_lookup());
        assert!(lookups.find("localhost").await.unwrap().iter().all(|address| address.ip().is_loopback()));
        assert!(is(lookups.find("192.0.2.1").await, "192.0.2.1:0"));
    }
}
