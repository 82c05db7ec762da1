//! What a subscriber heard: positions without holes or doubles, and of each file the changes that its client knows of.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::Value;
use tokio_tungstenite::connect_async;

use super::gateway::Gateway;

/// All that a poller read, over every start of the gateway, and a subscriber of the relay's socket beside it.
#[derive(Default)]
pub struct Log {
    events: Vec<Event>,
    heard: Vec<Event>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    position: u64,
    pub kind: String,
    pub collection: String,
    pub tenant: String,
    pub file_name: String,
    pub size: Option<u64>,
    version: Option<String>,
}

impl Log {
    /// Reads on where it stopped, as a subscriber does that comes back; with `from_start`, it reads all once more and
    /// compares.
    pub async fn read(&mut self, gateway: &Gateway, from_start: bool) {
        let before = match from_start {
            true => Some(std::mem::take(self)),
            false => None,
        };
        self.poll(gateway).await;
        self.listen(gateway).await;
        if let Some(before) = before {
            assert!(self.events.starts_with(&before.events), "the log says another thing than it said");
            assert!(self.heard.starts_with(&before.heard), "the socket says another thing than it said");
        }
    }

    async fn poll(&mut self, gateway: &Gateway) {
        loop {
            let after = self.events.last().map_or(0, |event| event.position);
            let page = gateway.read_json(&format!("/v1/events?after={after}&limit=256")).await;
            assert_eq!(page["reload"], false, "{page}");
            for event in page["events"].as_array().unwrap() {
                let event = Event::of(event, "tenant", "file_name");
                let expected = self.events.last().map_or(0, |event| event.position) + 1;
                assert_eq!(event.position, expected, "a hole, or a double: {event:?}");
                self.events.push(event);
            }
            if page["next"] == page["head"] {
                return;
            }
        }
    }

    /// Until the socket has said what the poller read of its collection.
    async fn listen(&mut self, gateway: &Gateway) {
        let known: Vec<Event> = self.events.iter().filter(|event| event.collection == "societes").cloned().collect();
        let after = self.heard.last().map_or(0, |event| event.position);
        let (mut socket, _) = connect_async(gateway.socket(&format!("/api/files/ws?after={after}"))).await.unwrap();
        while self.heard.len() < known.len() {
            let next = tokio::time::timeout(Duration::from_secs(30), socket.next()).await;
            let message = next.unwrap_or_else(|_| panic!("the socket says nothing behind {:?}", self.heard.last()));
            let Ok(text) = message.unwrap().unwrap().into_text() else { continue };
            let message: Value = serde_json::from_str(&text).unwrap();
            if message["type"] == "connection" {
                continue;
            }
            // The socket does not tell of these two.
            let Event { size, version, .. } = known[self.heard.len()].clone();
            self.heard.push(Event { size, version, ..Event::of(&message, "societe", "filename") });
        }
        assert_eq!(self.heard, known, "the socket and the log differ");
    }

    /// The kinds of the events of each file of a collection, in order, by tenant and name.
    pub fn by_file(&self, collection: &str) -> BTreeMap<(String, String), Vec<&str>> {
        let mut files: BTreeMap<_, Vec<&str>> = BTreeMap::new();
        for event in self.events.iter().filter(|event| event.collection == collection) {
            files.entry((event.tenant.clone(), event.file_name.clone())).or_default().push(&event.kind);
        }
        files
    }

    pub fn last_of(&self, collection: &str) -> Option<&Event> {
        self.events.iter().rev().find(|event| event.collection == collection)
    }

    /// The versions that were published, of files that have follow-ups.
    pub fn published(&self) -> impl Iterator<Item = &str> {
        let published = self.events.iter().filter(|event| event.kind == "file_uploaded");
        published.filter_map(|event| event.version.as_deref())
    }

    pub fn len(&self) -> usize {
        self.events.len()
    }
}

impl Event {
    fn of(event: &Value, tenant: &str, file_name: &str) -> Self {
        let text = |key: &str| event[key].as_str().unwrap_or_else(|| panic!("{event} has no {key}")).to_owned();
        Self {
            position: event["id"].as_u64().unwrap_or_else(|| panic!("{event} has no id")),
            kind: text("type"),
            collection: text("collection"),
            tenant: text(tenant),
            file_name: text(file_name),
            size: event["size"].as_u64(),
            version: event["version"].as_str().map(str::to_owned),
        }
    }
}
