//! Requests that go out at a rate, each of them measured: what one client sees of a server that is not busy with it.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::{Instant, sleep_until};

use crate::Result;
use crate::documents::Numbers;
use crate::http::Connection;
use crate::measure::Latencies;

#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub connections: usize,
    /// A connection sends one request in each such span, somewhere in it, as clients do that know nothing of each other. In step, two
    /// that always go out together would measure each other.
    pub every: Duration,
    pub lasting: Duration,
}

impl Pace {
    /// How many are sent in all.
    pub fn requests(self) -> usize {
        self.connections * (self.lasting.as_micros() / self.every.as_micros()) as usize
    }

    /// Sends what `request` makes of their numbers, the connections by turns. One that has to wait, because the one before it on its
    /// connection is not answered yet, counts from when it should have gone out: a server that stands still for a while delays all of
    /// them, and not only the first.
    pub async fn send(self, address: SocketAddr, request: impl Fn(usize) -> Vec<u8>) -> Result<Latencies> {
        /// How many there were.
        static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

        let next = Cell::new(0);
        let begun = Instant::now();
        let sender = async || {
            let mut connection = Connection::open(address).await?;
            let mut numbers = Numbers::of(CONNECTIONS.fetch_add(1, Ordering::Relaxed));
            let mut took = Vec::with_capacity(self.requests() / self.connections);
            while took.len() < self.requests() / self.connections {
                let bytes = request(next.replace(next.get() + 1));
                let into_span = Duration::from_micros(numbers.below(self.every.as_micros() as u64));
                let due = begun + self.every * took.len() as u32 + into_span;
                let sent = match Instant::now() > due {
                    true => due,
                    false => {
                        sleep_until(due).await;
                        Instant::now()
                    }
                };
                connection.exchange(&[&bytes]).await?.expect_success()?;
                took.push(sent.elapsed().as_secs_f64());
            }
            Result::Ok(took)
        };
        let took = try_join_all((0..self.connections).map(|_| sender())).await?;
        Ok(Latencies::of(took.concat()))
    }
}
