//! What a client of the upload in chunks sent and was told of one upload, and whether it can be brought to its end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::multipart::{Form, Part};
use serde_json::json;

use super::gateway::{Gateway, Gone, Told};
use super::random::Random;

pub struct Upload {
    session: String,
    source: Vec<u8>,
    chunk: usize,
    /// What the client counts from.
    first: u32,
    /// Numbers in the order in which they are sent.
    order: Vec<u32>,
    announces_total: bool,
    /// Whether the bytes come before the fields that say where they belong.
    bytes_first: bool,
    /// Chunks that are sent with other bytes before they are sent rightly.
    wrong_before: BTreeSet<u32>,
    parts_kept: BTreeSet<u32>,
    pub stage: Stage,
    delete_is_open: bool,
    /// Whether a file was published, as far as is known.
    pub was_stored: Option<bool>,
    pub acknowledged: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Receiving,
    /// `complete` was sent and never answered.
    CompleteIsOpen,
    /// `complete` was answered.
    Complete,
    /// The client saw it completed.
    Stored,
    Deleted,
}

/// How the chunks come.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// From 0, in any order.
    Shuffled,
    /// From 1, the last one first, without the total: the first few find no place, and are copied.
    Backwards,
    /// From 0, and the 0 comes when all others were taken for counted from 1: all must move.
    Mistaken,
    /// From 1, as the web client has it.
    Web,
    /// From 0, and the first one is sent wrongly, and much too long, before: the others go where they would belong if all were so
    /// long, behind the end of the whole.
    Spread,
}

pub const SHAPES: [Shape; 5] = [Shape::Shuffled, Shape::Backwards, Shape::Mistaken, Shape::Web, Shape::Spread];

impl Upload {
    pub fn new(session: String, shape: Shape, random: &mut Random) -> Self {
        let is_spread = matches!(shape, Shape::Spread);
        let chunk = 4_000 + random.below(if is_spread { 4_000 } else { 60_000 }) as usize;
        let count = 7 + random.below(6) as u32;
        let last = 1 + random.below(chunk as u64) as usize;
        let source = random.bytes(chunk * (count as usize - 1) + last);
        let first = if matches!(shape, Shape::Backwards | Shape::Web) { 1 } else { 0 };
        let mut order: Vec<u32> = (first..first + count).collect();
        match shape {
            Shape::Shuffled => random.shuffle(&mut order),
            Shape::Backwards => order.reverse(),
            Shape::Mistaken => order.rotate_left(1),
            Shape::Web | Shape::Spread => {}
        }
        let has_wrong = random.one_in(3);
        let wrong_before = match shape {
            Shape::Spread => BTreeSet::from([0]),
            _ => order.iter().copied().filter(|_| has_wrong && random.one_in(3)).collect(),
        };
        Self {
            session,
            source,
            chunk,
            first,
            order,
            announces_total: matches!(shape, Shape::Shuffled | Shape::Web) && random.one_in(2),
            bytes_first: matches!(shape, Shape::Web) || random.one_in(3),
            wrong_before,
            parts_kept: BTreeSet::new(),
            stage: Stage::Receiving,
            delete_is_open: false,
            was_stored: Some(false),
            acknowledged: 0,
        }
    }

    /// Its published name.
    pub fn name(&self) -> String {
        format!("Große Datei_{}.bin", self.session)
    }

    /// Where it lies under the data folder.
    pub fn path(&self) -> String {
        format!("large/largefiles/{}", self.name())
    }

    pub fn content(&self) -> Option<&[u8]> {
        (self.stage == Stage::Stored).then_some(&*self.source)
    }

    fn part(&self, number: u32) -> &[u8] {
        let index = (number - self.first) as usize;
        &self.source[index * self.chunk..self.source.len().min((index + 1) * self.chunk)]
    }

    /// Sends the chunks that no answer came to yet, two at a time; then completes the upload, and waits until it is stored.
    pub async fn finish(&mut self, gateway: &Gateway) -> Result<(), Gone> {
        self.send_missing(gateway).await?;
        self.complete(gateway).await?;
        self.wait_until_stored(gateway).await
    }

    pub async fn send_missing(&mut self, gateway: &Gateway) -> Result<(), Gone> {
        let missing: Vec<u32> = self.order.iter().copied().filter(|number| !self.parts_kept.contains(number)).collect();
        for pair in missing.chunks(2) {
            let told = join_all(pair.iter().map(|number| self.send_part(gateway, *number))).await;
            for (number, acknowledged) in pair.iter().zip(&told) {
                self.acknowledged += acknowledged.0;
                if acknowledged.1 {
                    self.parts_kept.insert(*number);
                }
            }
            if told.iter().any(|(_, is_kept)| !is_kept) {
                return Err(Gone);
            }
        }
        Ok(())
    }

    /// How many answers came, and whether the last one did.
    async fn send_part(&self, gateway: &Gateway, number: u32) -> (u64, bool) {
        let mut acknowledged = 0;
        let right = self.part(number).to_vec();
        let mut versions = vec![right];
        if self.wrong_before.contains(&number) {
            // Longer than any chunk, so that the sizes never fit by accident.
            versions.insert(0, vec![b'x'; 100_000]);
        }
        for bytes in versions {
            let Ok(told) = self.send(gateway, number, bytes).await else { return (acknowledged, false) };
            assert!(told.is_acknowledged(), "chunk {number} of {}: {told:?}", self.session);
            acknowledged += 1;
        }
        (acknowledged, true)
    }

    async fn send(&self, gateway: &Gateway, number: u32, bytes: Vec<u8>) -> Result<Told, Gone> {
        let mut fields = vec![("sessionId", self.session.clone()), ("chunkNumber", number.to_string())];
        fields.extend([("fileName", "Große Datei.bin".to_owned()), ("fileSize", self.source.len().to_string())]);
        if self.announces_total {
            fields.push(("totalChunks", self.order.len().to_string()));
        }
        let fields = |form: Form| fields.into_iter().fold(form, |form, (name, value)| form.text(name, value));
        let chunk = |form: Form| form.part("chunk", Part::bytes(bytes).file_name("blob"));
        let form = if self.bytes_first { fields(chunk(Form::new())) } else { chunk(fields(Form::new())) };
        gateway.tell(gateway.post("/fileupload/upload_chunk/").multipart(form)).await
    }

    async fn ask_to_complete(&self, gateway: &Gateway) -> Result<Told, Gone> {
        let body = json!({ "sessionId": self.session });
        gateway.tell(gateway.post("/fileupload/complete_upload/").json(&body)).await
    }

    pub async fn complete(&mut self, gateway: &Gateway) -> Result<(), Gone> {
        if self.stage == Stage::Receiving {
            self.stage = Stage::CompleteIsOpen;
        }
        let told = self.ask_to_complete(gateway).await?;
        assert!(told.is_acknowledged(), "{} is complete: {told:?}", self.session);
        self.acknowledged += 1;
        self.is_completed();
        Ok(())
    }

    fn is_completed(&mut self) {
        if self.stage != Stage::Stored {
            self.stage = Stage::Complete;
            self.was_stored = None;
        }
    }

    fn is_stored(&mut self) {
        self.stage = Stage::Stored;
        self.was_stored = Some(true);
    }

    async fn status(&self, gateway: &Gateway) -> Result<(u16, String), Gone> {
        let told = gateway.look(&format!("/fileupload/assembly_status/{}/", self.session)).await?;
        if told.text.is_empty() {
            return Err(Gone);
        }
        let status = told.json()["status"].as_str().unwrap_or_default().to_owned();
        assert_ne!(status, "failed", "{}: {told:?}", self.session);
        Ok((told.status, status))
    }

    pub async fn wait_until_stored(&mut self, gateway: &Gateway) -> Result<(), Gone> {
        let begun = Instant::now();
        loop {
            let status = self.status(gateway).await?;
            match (status.0, &*status.1) {
                (200, "completed") => break,
                (200, "in_progress") => {}
                other => panic!("{}: {other:?} after it was completed", self.session),
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{} is not assembled", self.session);
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        self.is_stored();
        Ok(())
    }

    pub async fn delete(&mut self, gateway: &Gateway) -> Result<(), Gone> {
        self.delete_is_open = true;
        let told = gateway.tell(gateway.delete(&format!("/fileupload/delete_upload/{}/", self.session))).await?;
        assert!(told.is_acknowledged(), "{}: {told:?}", self.session);
        self.acknowledged += 1;
        self.delete_is_open = false;
        self.stage = Stage::Deleted;
        Ok(())
    }

    /// Compares what the gateway says with what was told, and settles what nobody was told of. What was completed is waited for.
    pub async fn check(&mut self, gateway: &Gateway) {
        let (code, status) = self.status(gateway).await.unwrap();
        let session = &self.session;
        if code == 404 {
            let may_be_unknown = self.delete_is_open || self.stage == Stage::Deleted || self.acknowledged == 0;
            assert!(may_be_unknown, "{session} is unknown, in {:?}", self.stage);
            if self.delete_is_open {
                self.delete_is_open = false;
                self.stage = Stage::Deleted;
            }
            return;
        }
        assert_eq!(code, 200, "{session}");
        assert_ne!(self.stage, Stage::Deleted, "{session} was deleted and is {status}");
        if status == "pending" {
            let may_be_pending = matches!(self.stage, Stage::Receiving | Stage::CompleteIsOpen);
            assert!(may_be_pending, "{session} is pending, in {:?}", self.stage);
            self.stage = Stage::Receiving;
            self.check_missing(gateway).await;
        } else {
            assert_ne!(self.stage, Stage::Receiving, "{session} is {status}");
            self.is_completed();
        }
        if matches!(self.stage, Stage::Complete | Stage::Stored) {
            self.wait_until_stored(gateway).await.unwrap();
        }
        self.delete_is_open = false;
    }

    /// Asks to complete an upload of which not all was acknowledged: nothing that was is among what is missing.
    async fn check_missing(&mut self, gateway: &Gateway) {
        if self.parts_kept.len() == self.order.len() {
            return;
        }
        let told = self.ask_to_complete(gateway).await.unwrap();
        match told.status {
            // What nobody was told of was kept too.
            200 => self.is_completed(),
            409 => {
                let answer = told.json();
                let missing = answer["missing"].as_array().cloned().unwrap_or_default();
                let missing: BTreeSet<u32> = missing.iter().map(|number| number.as_u64().unwrap() as u32).collect();
                let lost: Vec<&u32> = missing.intersection(&self.parts_kept).collect();
                assert!(lost.is_empty(), "{}: the chunks {lost:?} were acknowledged and are lost", self.session);
            }
            _ => panic!("{}: {told:?}", self.session),
        }
    }

    pub fn is_receiving(&self) -> bool {
        matches!(self.stage, Stage::Receiving)
    }

    /// Whether the log may have just these events of the file.
    pub fn allows(&self, events: &[&str]) -> bool {
        let stored: &[&str] = match self.stage {
            Stage::Deleted => &["file_uploaded", "file_deleted"],
            _ => &["file_uploaded"],
        };
        match self.was_stored {
            Some(true) => events == stored,
            Some(false) => events.is_empty(),
            None => events == stored || events.is_empty(),
        }
    }
}
