//! What a client of the relay sent and was told of one file, and whether listing, download and folder say the same.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::gateway::{Gateway, Gone};
use super::random::Random;

#[derive(Clone)]
pub struct Document {
    pub societe: String,
    pub name: String,
    /// The content that is there, as far as its client was told.
    pub content: Option<Vec<u8>>,
    open: Option<Change>,
    /// The events that the log must have of it, in order.
    pub events: Vec<&'static str>,
    pub acknowledged: u64,
}

/// What was sent and never answered.
#[derive(Clone)]
enum Change {
    Put(Vec<u8>),
    Delete,
}

impl Document {
    pub fn new(societe: &str, name: &str) -> Self {
        Self {
            societe: societe.to_owned(),
            name: name.to_owned(),
            content: None,
            open: None,
            events: Vec::new(),
            acknowledged: 0,
        }
    }

    /// Where it lies under the data folder.
    pub fn path(&self) -> String {
        format!("files/{}/{}", self.societe, self.name)
    }

    /// Sends a content that was never sent before: small, or `large` enough to be staged in a file.
    pub async fn put(&mut self, gateway: &Gateway, random: &mut Random, large: bool) -> Result<(), Gone> {
        let length = if large { 70_000 + random.below(300_000) } else { random.below(10_000) } as usize;
        let content = json!({ "version": random.next(), "filling": "ä".repeat(length / 2) }).to_string().into_bytes();
        self.open = Some(Change::Put(content.clone()));
        let part = reqwest::multipart::Part::bytes(content).file_name(self.name.clone());
        let form = reqwest::multipart::Form::new().part("file", part);
        let path = format!("/api/files/upload/{}", self.societe);
        let told = gateway.tell(gateway.post(&path).multipart(form)).await?;
        assert!(told.is_acknowledged(), "{told:?}");
        self.acknowledged += 1;
        self.settle();
        Ok(())
    }

    pub async fn delete(&mut self, gateway: &Gateway) -> Result<(), Gone> {
        self.open = Some(Change::Delete);
        let told = gateway.tell(gateway.delete(&format!("/api/files/delete/{}/{}", self.societe, self.name))).await?;
        assert!(told.is_acknowledged(), "{told:?}");
        self.acknowledged += 1;
        self.settle();
        Ok(())
    }

    /// What was sent last has happened.
    fn settle(&mut self) {
        match self.open.take() {
            Some(Change::Put(content)) => {
                self.content = Some(content);
                self.events.push("file_uploaded");
            }
            Some(Change::Delete) => {
                self.content = None;
                self.events.push("file_deleted");
            }
            None => {}
        }
    }

    /// Compares the download with what was told: the old content or the new one, whole. Which one it is settles what nobody
    /// was told of.
    pub async fn check(&mut self, gateway: &Gateway) {
        let path = format!("/api/files/download/{}/{}", self.societe, self.name);
        let (status, body) = gateway.read(&path).await;
        let found = match status {
            200 => Some(body),
            404 => None,
            status => panic!("GET {path}: {status}"),
        };
        let wanted = match &self.open {
            Some(Change::Put(content)) => Some(Some(content)),
            Some(Change::Delete) => Some(None),
            None => None,
        };
        if wanted == Some(found.as_ref()) {
            self.settle();
        }
        self.open = None;
        let (name, told) = (self.path(), self.content.as_ref().map(Vec::len));
        assert!(
            found == self.content,
            "{name}: {:?} bytes are served, {told:?} were told of",
            found.map(|it| it.len())
        );
    }
}

/// The listings of the companies have these files and no others, with their sizes and checksums.
pub async fn check_listings(gateway: &Gateway, documents: &[Document]) {
    let mut societes: Vec<&str> = documents.iter().map(|document| document.societe.as_str()).collect();
    societes.sort_unstable();
    societes.dedup();
    for societe in societes {
        let path = format!("/api/files/societe/{societe}/files");
        let (status, body) = gateway.read(&path).await;
        let listed: Value = serde_json::from_slice(&body).unwrap_or_else(|error| panic!("GET {path}: {error}"));
        let mut listed: Vec<(String, u64, String)> = match status {
            200 => listed["files"].as_array().unwrap().iter().map(entry).collect(),
            404 => Vec::new(),
            status => panic!("GET {path}: {status}"),
        };
        let there = documents.iter().filter(|document| document.societe == societe);
        let mut told: Vec<(String, u64, String)> = there
            .filter_map(|document| {
                let content = document.content.as_ref()?;
                let checksum = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
                Some((document.name.clone(), content.len() as u64, checksum))
            })
            .collect();
        listed.sort();
        told.sort();
        assert_eq!(listed, told, "the listing of {societe} is not what was told");
    }
}

fn entry(entry: &Value) -> (String, u64, String) {
    let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    (text("filename"), entry["size"].as_u64().unwrap(), text("checksum"))
}
