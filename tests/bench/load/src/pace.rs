//! Requests that go out at a steady rate, each of them measured: what one client sees of a server that is not busy with it.

use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::{Instant, sleep_until};

use crate::Result;
use crate::http::Connection;
use crate::measure::Latencies;

#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub connections: usize,
    /// From one request of a connection to its next.
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
        let next = Cell::new(0);
        let begun = Instant::now();
        let sender = async |place: usize| {
            let mut connection = Connection::open(address).await?;
            let mut took = Vec::with_capacity(self.requests() / self.connections);
            let mut due = begun + self.every * place as u32 / self.connections as u32;
            while took.len() < self.requests() / self.connections {
                let bytes = request(next.replace(next.get() + 1));
                let sent = match Instant::now() > due {
                    true => due,
                    false => {
                        sleep_until(due).await;
                        Instant::now()
                    }
                };
                connection.exchange(&[&bytes]).await?.expect_success()?;
                took.push(sent.elapsed().as_secs_f64());
                due += self.every;
            }
            Result::Ok(took)
        };
        let took = try_join_all((0..self.connections).map(sender)).await?;
        Ok(Latencies::of(took.concat()))
    }
}
