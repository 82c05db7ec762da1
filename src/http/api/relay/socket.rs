//! The relay's WebSocket (CONTRACTS C): a subscription to one collection, told as text messages.
//!
//! A socket has no queue of its own. What is next is taken from the subscription when the one before has gone out, so
//! whoever reads slowly is served at his own pace, holds up nobody, and costs one message of memory; how the log is
//! read after a position is the matter of [`crate::events`].

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use jiff::Timestamp;
use poem::IntoResponse;
use poem::web::websocket::{CloseCode, Message, WebSocket, WebSocketStream};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_util::sync::CancellationToken;

use crate::events::{Batch, Event, EventKind, Position, RenderSlot, Subscription};
use crate::time::rfc_3339;

/// Where entries keep the relay's text of them.
const RELAY_TEXT: RenderSlot = RenderSlot::nth(0);
/// What a client has to say is short; ten thousand of them must not hold megabytes each.
const MAX_INCOMING: usize = 4 << 10;
/// How long a leave-taking may last: the last words, and the client's own close.
const FAREWELL: Duration = Duration::from_secs(5);
/// Clients that a draining node sends away come back after this long, each at another moment.
const RECONNECT_AFTER_MS: std::ops::Range<u64> = 500..5_500;

/// How many sockets are open.
#[derive(Debug, Default)]
pub struct Sockets(AtomicUsize);

impl Sockets {
    pub fn open(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn enter(self: &Arc<Self>) -> OpenSocket {
        self.0.fetch_add(1, Ordering::Relaxed);
        OpenSocket(self.clone())
    }
}

struct OpenSocket(Arc<Sockets>);

impl Drop for OpenSocket {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long the other side may be silent.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// A ping goes out this often.
    pub ping_every: Duration,
    /// Who neither answers nor takes what is sent for this long is gone.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { ping_every: Duration::from_secs(30), silence: Duration::from_secs(75) }
    }
}

/// What all sockets of one collection have in common.
#[derive(Clone)]
pub struct Terms {
    pub collection: Arc<str>,
    pub sockets: Arc<Sockets>,
    /// Cancelled when the gateway drains: clients are told to come back, and the sockets are closed.
    pub draining: CancellationToken,
    pub patience: Patience,
}

/// Answers an upgrade, and serves the socket that comes of it.
pub fn upgrade(request: WebSocket, subscription: Subscription, terms: Terms) -> impl IntoResponse {
    // tungstenite's own sizes are 128 KiB a socket. With 0 each message goes to the kernel at once.
    let config = WebSocketConfig::default()
        .read_buffer_size(1 << 10)
        .write_buffer_size(0)
        .max_write_buffer_size(64 << 10)
        .max_message_size(Some(MAX_INCOMING))
        .max_frame_size(Some(MAX_INCOMING));
    request.config(config).on_upgrade(move |socket| serve(socket, subscription, terms))
}

/// Serves one socket until either side goes.
pub async fn serve(socket: WebSocketStream, subscription: Subscription, terms: Terms) {
    let _open = terms.sockets.enter();
    let now = Instant::now();
    let mut peer = Peer { socket, terms, heard: now, ping_at: now };
    peer.ping_at += peer.terms.patience.ping_every;
    let end = match peer.greet(subscription.position()).await {
        Ok(()) => peer.converse(subscription).await,
        Err(end) => end,
    };
    peer.leave(end).await;
}

/// Why a conversation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The other side closed, or the connection broke.
    Gone,
    /// The other side is silent.
    Silent,
    /// The other side sent what is no message of ours: too long, or no WebSocket frame.
    Misused,
    /// This node stops.
    Draining,
    /// The log cannot be read.
    Unreadable,
}

struct Peer {
    socket: WebSocketStream,
    terms: Terms,
    /// When the other side last showed that it lives.
    heard: Instant,
    ping_at: Instant,
}

impl Peer {
    async fn greet(&mut self, position: Position) -> Result<(), End> {
        let collection = self.terms.collection.clone();
        self.send(text(&Notice::connection(&collection, position))).await
    }

    async fn converse(&mut self, mut subscription: Subscription) -> End {
        let draining = self.terms.draining.clone();
        let draining = draining.cancelled();
        let tick = sleep_until(self.next_tick());
        tokio::pin!(draining, tick);
        loop {
            let went_on = tokio::select! {
                () = &mut draining => Err(End::Draining),
                batch = subscription.next_batch() => match batch {
                    Ok(batch) => self.tell(batch).await,
                    Err(fault) => {
                        tracing::debug!(%fault, "a socket is closed: what it missed cannot be read");
                        Err(End::Unreadable)
                    }
                },
                message = self.socket.next() => self.hear(message).await,
                () = &mut tick => {
                    let ticked = self.tick().await;
                    tick.as_mut().reset(self.next_tick());
                    ticked
                }
            };
            if let Err(end) = went_on {
                return end;
            }
        }
    }

    async fn tell(&mut self, batch: Batch) -> Result<(), End> {
        match batch {
            Batch::Entries(entries) => {
                for entry in entries {
                    // A copy for poem's message; it goes straight into the socket.
                    self.send(entry.rendered(RELAY_TEXT, event_text).to_string()).await?;
                }
                Ok(())
            }
            Batch::Reload { head } => {
                let collection = self.terms.collection.clone();
                self.send(text(&Notice::reload(&collection, head))).await
            }
            Batch::Ended => Err(End::Draining),
        }
    }

    async fn hear(&mut self, message: Option<io::Result<Message>>) -> Result<(), End> {
        self.heard = Instant::now();
        match message {
            None | Some(Ok(Message::Close(_))) => Err(End::Gone),
            // poem gives what is no I/O error of the socket's as `Other`.
            Some(Err(error)) if error.kind() == io::ErrorKind::Other => Err(End::Misused),
            Some(Err(_)) => Err(End::Gone),
            Some(Ok(Message::Text(said))) => match serde_json::from_str(&said) {
                Ok(Command::Ping) => self.send(text(&Pong { kind: "pong" })).await,
                Err(_) => Ok(()),
            },
            Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_))) => Ok(()),
        }
    }

    fn next_tick(&self) -> Instant {
        self.ping_at.min(self.heard + self.terms.patience.silence)
    }

    async fn tick(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if now >= self.heard + self.terms.patience.silence {
            return Err(End::Silent);
        }
        if now < self.ping_at {
            return Ok(());
        }
        self.ping_at = now + self.terms.patience.ping_every;
        self.send_message(Message::Ping(Vec::new())).await
    }

    async fn send(&mut self, text: String) -> Result<(), End> {
        self.send_message(Message::Text(text)).await
    }

    /// Returns when the kernel has taken the message.
    async fn send_message(&mut self, message: Message) -> Result<(), End> {
        let sending = self.socket.send(message);
        tokio::pin!(sending);
        // What the kernel takes at once says nothing of the other side.
        if let std::task::Poll::Ready(sent) = futures_util::poll!(&mut sending) {
            return sent.map_err(|_| End::Gone);
        }
        tokio::select! {
            sent = timeout(self.terms.patience.silence, sending) => match sent {
                Ok(Ok(())) => {
                    self.heard = Instant::now();
                    Ok(())
                }
                Ok(Err(_)) => Err(End::Gone),
                Err(_) => Err(End::Silent),
            },
            () = self.terms.draining.cancelled() => Err(End::Draining),
        }
    }

    /// The last words, as far as the other side still listens.
    async fn leave(mut self, end: End) {
        let close = match end {
            // tungstenite answers a close by itself, as the socket is read to its end.
            End::Gone => None,
            // Nobody there to say it to.
            End::Silent => return,
            End::Misused => Some((CloseCode::Policy, "not a message that this socket takes")),
            End::Draining => Some((CloseCode::Restart, "the gateway restarts")),
            End::Unreadable => Some((CloseCode::Again, "try again later")),
        };
        let farewell = async {
            if end == End::Draining {
                self.socket.send(Message::Text(text(&Reconnect::soon()))).await?;
            }
            if let Some((code, reason)) = close {
                self.socket.send(Message::close_with(code, reason)).await?;
            }
            while let Some(Ok(_)) = self.socket.next().await {}
            io::Result::Ok(())
        };
        // Too late or broken off: the connection ends either way, and the client knows its position.
        let _ = timeout(FAREWELL, farewell).await;
    }
}

/// What a client may ask for. Anything else that it says is taken and left at that.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Command {
    Ping,
}

#[derive(Serialize)]
struct Pong {
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
struct Notice<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    message: &'static str,
    timestamp: String,
    id: Position,
    collection: &'a str,
}

impl<'a> Notice<'a> {
    fn connection(collection: &'a str, id: Position) -> Self {
        let message = "connected: what happens after `id` is told here";
        Self { kind: "connection", message, timestamp: rfc_3339(Timestamp::now()), id, collection }
    }

    fn reload(collection: &'a str, id: Position) -> Self {
        let message =
            "what was missed cannot be told any more: list the files anew; what happens after `id` is told here";
        Self { kind: "reload", message, timestamp: rfc_3339(Timestamp::now()), id, collection }
    }
}

#[derive(Serialize)]
struct Reconnect {
    #[serde(rename = "type")]
    kind: &'static str,
    after_ms: u64,
    timestamp: String,
}

impl Reconnect {
    fn soon() -> Self {
        let spread = RECONNECT_AFTER_MS.end - RECONNECT_AFTER_MS.start;
        let after_ms = RECONNECT_AFTER_MS.start + RandomState::new().hash_one(0_u8) % spread;
        Self { kind: "reconnect", after_ms, timestamp: rfc_3339(Timestamp::now()) }
    }
}

#[derive(Serialize)]
struct FileEvent<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    societe: &'a str,
    filename: &'a str,
    timestamp: String,
    id: Position,
    collection: &'a str,
}

#[derive(Serialize)]
struct SyncEvent<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    societe: &'a str,
    files_count: u64,
    timestamp: String,
    id: Position,
    collection: &'a str,
}

fn event_text(event: &Event) -> String {
    let Event { position: id, event } = event;
    let (id, kind, timestamp) = (*id, event.kind.as_str(), rfc_3339(event.at));
    let (collection, societe) = (event.collection.as_str(), event.tenant.as_str());
    match event.kind {
        EventKind::SyncCompleted => {
            let files_count = event.files_count.unwrap_or(0);
            text(&SyncEvent { kind, societe, files_count, timestamp, id, collection })
        }
        EventKind::FileUploaded | EventKind::FileDeleted | EventKind::FileAppended | EventKind::FileCleared => {
            text(&FileEvent { kind, societe, filename: &event.file_name, timestamp, id, collection })
        }
    }
}

fn text(message: &impl Serialize) -> String {
    // Strings and numbers alone: there is nothing in them that JSON cannot say.
    serde_json::to_string(message).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::NewEvent;
    use serde_json::{Value, json};

    fn event(kind: EventKind) -> Event {
        let event = NewEvent {
            kind,
            collection: "societes".to_owned(),
            tenant: "Société \"A\"".to_owned(),
            file_name: "comptes_2024.json".to_owned(),
            version: Some("v".to_owned()),
            size: Some(1),
            files_count: (kind == EventKind::SyncCompleted).then_some(3),
            at: "2026-01-02T03:04:05.6789Z".parse().expect("a time"),
        };
        Event { position: 42, event }
    }

    #[test]
    fn messages_are_as_clients_know_them() {
        let said = |kind| serde_json::from_str::<Value>(&event_text(&event(kind))).expect("JSON");
        for kind in [EventKind::FileUploaded, EventKind::FileDeleted] {
            assert_eq!(
                said(kind),
                json!({
                    "type": kind.as_str(), "societe": "Société \"A\"", "filename": "comptes_2024.json",
                    "timestamp": "2026-01-02T03:04:05.678+00:00", "id": 42, "collection": "societes",
                })
            );
        }
        assert_eq!(
            said(EventKind::SyncCompleted),
            json!({
                "type": "sync_completed", "societe": "Société \"A\"", "files_count": 3,
                "timestamp": "2026-01-02T03:04:05.678+00:00", "id": 42, "collection": "societes",
            })
        );
    }

    #[test]
    fn clients_are_sent_away_for_different_times() {
        let waits: std::collections::HashSet<_> = (0..20).map(|_| Reconnect::soon().after_ms).collect();
        assert!(waits.len() > 10 && waits.iter().all(|wait| RECONNECT_AFTER_MS.contains(wait)));
    }
}
