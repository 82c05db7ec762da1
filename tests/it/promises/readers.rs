//! Checked before visible, and whole: readers of one name that is replaced all the time see one version or another,
//! never a part, a mix, or one that is older than what anybody has seen or been told of.
//!
//! Every version is filled with its own number and has a length that no other has, so that a body, a listing and an
//! event each say on their own which version they are of.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::StreamExt;
use parking_lot::Mutex;
use reqwest::{Response, StatusCode, header};
use tokio::task::JoinHandle;

use super::*;

const LARGEST: usize = 50 << 20;
const LIST: &str = "/api/files/societe/acme/files";
const FILE: &str = "/api/files/download/acme/comptes_2026.json";
const NAME: &str = "comptes_2026.json";

/// JSON of `length` bytes, or a few more, filled with `number`.
fn version(number: u64, length: usize) -> Bytes {
    let unit = format!(",{number}");
    let count = (length.saturating_sub(2) / unit.len()).max(1);
    if length < unit.len() + 1 {
        return Bytes::from(number.to_string());
    }
    let mut body = unit.repeat(count);
    body.replace_range(..1, "[");
    body.push(']');
    Bytes::from(body)
}

/// The number that a whole body is filled with; `None` where it is not one number from end to end.
fn number_of(body: &[u8]) -> Option<u64> {
    let digits = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse().ok();
    let Some(filling) = body.strip_prefix(b"[") else { return digits(body) };
    let filling = filling.strip_suffix(b"]")?;
    let length = filling.iter().position(|byte| *byte == b',').unwrap_or(filling.len());
    let number = digits(&filling[..length])?;
    let unit = length + 1;
    let is_even = (filling.len() + 1) % unit == 0;
    let repeats =
        filling.len() < unit || (filling[length] == b',' && filling[unit..] == filling[..filling.len() - unit]);
    (is_even && repeats).then_some(number)
}

#[test]
fn a_mix_of_versions_is_none() {
    assert_eq!(version(7, 1), "7");
    for length in [1, 4, 100, 5000] {
        let body = version(1234, length);
        assert_eq!(number_of(&body), Some(1234), "{length}");
        assert_eq!(serde_json::from_slice::<Value>(&body).map(|_| ()).ok(), Some(()));
        for cut in 1..body.len() {
            assert_eq!(number_of(&body[..cut]).filter(|_| cut > 4), None, "{cut} of {length}");
            let mixed = [&body[..cut], &version(1235, length)[cut..]].concat();
            assert!(number_of(&mixed).is_none() || cut < 6 || cut + 2 > body.len(), "{cut} of {length}");
        }
    }
}

/// What is known of the versions, by everybody together.
#[derive(Default)]
struct Knowledge {
    /// Number and SHA-256 by length, of everything that was ever sent.
    sent: Mutex<HashMap<u64, (u64, String)>>,
    /// Numbers by ETag, of everything that was ever read.
    etags: Mutex<HashMap<String, u64>>,
    /// Nobody who begins to read now may see an older one.
    newest: AtomicU64,
    stop: AtomicBool,
}

impl Knowledge {
    fn will_be_sent(&self, number: u64, body: &Bytes) {
        let before = self.sent.lock().insert(body.len() as u64, (number, sha256(body)));
        assert!(before.is_none(), "two versions of one length");
    }

    fn sent(&self, length: u64) -> (u64, String) {
        self.sent.lock().get(&length).cloned().unwrap_or_else(|| panic!("no version has {length} bytes"))
    }

    fn newest(&self) -> u64 {
        self.newest.load(Ordering::SeqCst)
    }

    /// `number` was seen by somebody who began when `floor` was the newest.
    fn saw(&self, number: u64, floor: u64, who: &str) {
        assert!(number >= floor, "{who} saw version {number} after {floor} had been seen");
        self.newest.fetch_max(number, Ordering::SeqCst);
    }

    fn has_etag(&self, number: u64, etag: &str) {
        let known = *self.etags.lock().entry(etag.to_owned()).or_insert(number);
        assert_eq!(known, number, "one ETag for two versions");
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

/// What the head of an answer says.
struct Head {
    status: StatusCode,
    etag: String,
    length: u64,
    range: String,
}

impl Head {
    fn of(response: &Response) -> Self {
        let text = |name| response.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        Self {
            status: response.status(),
            etag: text(header::ETAG),
            length: text(header::CONTENT_LENGTH).parse().unwrap_or(u64::MAX),
            range: text(header::CONTENT_RANGE),
        }
    }
}

/// What other programs do to the file meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Others {
    Stay,
    /// Faster than the gateway can check what it finds: it may ask its clients to come again.
    Rename,
    /// Answers may break off, and what is half written is not served.
    WriteInPlace,
}

/// One who reads the name over and over, in all ways that there are.
struct Reader {
    home: Arc<Home>,
    client: Client,
    knowledge: Arc<Knowledge>,
    dice: Dice,
    others: Others,
    reads: u64,
}

impl Reader {
    fn start(home: &Arc<Home>, knowledge: &Arc<Knowledge>, dice: &mut Dice, others: Others) -> JoinHandle<u64> {
        let (home, knowledge, dice) = (home.clone(), knowledge.clone(), dice.fork());
        let mut reader = Self { home, client: client(), knowledge, dice, others, reads: 0 };
        tokio::spawn(async move {
            while !reader.knowledge.is_stopped() {
                match reader.dice.below(5) {
                    0 => reader.list().await,
                    1 => reader.head().await,
                    2 => reader.two_halves().await,
                    _ => reader.whole().await.map_or((), |_| ()),
                }
                reader.reads += 1;
            }
            reader.reads
        })
    }

    fn get(&self) -> RequestBuilder {
        self.client.get(self.home.url(FILE))
    }

    /// `None`: it broke off or is not served, as is right while another program writes into it.
    async fn read(&self, request: RequestBuilder) -> Option<(Head, Bytes)> {
        let read = async {
            let response = request.send().await?;
            Ok::<_, reqwest::Error>((Head::of(&response), response.bytes().await?))
        };
        match read.await {
            Ok((head, _)) if self.others == Others::WriteInPlace && head.status == 404 => None,
            Ok((head, _)) if self.others != Others::Stay && head.status == 503 => None,
            Ok(read) => Some(read),
            Err(_) if self.others == Others::WriteInPlace => None,
            Err(error) => panic!("a download broke: {error:?}"),
        }
    }

    fn check_whole(&self, floor: u64, head: &Head, body: &[u8]) -> u64 {
        assert_eq!(head.status, 200, "{}", String::from_utf8_lossy(&body[..body.len().min(300)]));
        assert_eq!(head.length, body.len() as u64);
        let number = number_of(body).unwrap_or_else(|| panic!("a body of {} bytes is no version", body.len()));
        assert_eq!(self.knowledge.sent(head.length).0, number, "a body has the length of another version");
        self.knowledge.has_etag(number, &head.etag);
        self.knowledge.saw(number, floor, "a download");
        number
    }

    async fn whole(&self) -> Option<(String, Bytes)> {
        let floor = self.knowledge.newest();
        let (head, body) = self.read(self.get()).await?;
        self.check_whole(floor, &head, &body);
        Some((head.etag, body))
    }

    async fn head(&self) {
        let floor = self.knowledge.newest();
        let Some((head, body)) = self.read(self.client.head(self.home.url(FILE))).await else { return };
        assert_eq!((head.status, body.len()), (StatusCode::OK, 0));
        let (number, _) = self.knowledge.sent(head.length);
        self.knowledge.has_etag(number, &head.etag);
        self.knowledge.saw(number, floor, "a HEAD");
    }

    async fn list(&self) {
        let floor = self.knowledge.newest();
        let (status, list) = told(self.client.get(self.home.url(LIST))).await;
        assert_eq!(status, 200, "{list}");
        let files = list["files"].as_array().unwrap();
        if self.others == Others::WriteInPlace && files.is_empty() {
            return;
        }
        assert_eq!(files.len(), 1, "{list}");
        let (number, checksum) = self.knowledge.sent(files[0]["size"].as_u64().unwrap());
        assert_eq!(files[0]["checksum"], checksum, "length and checksum are of different versions");
        self.knowledge.saw(number, floor, "a listing");
    }

    /// The first part of a version, then the rest of the same one, or all of a newer one.
    async fn two_halves(&mut self) {
        let floor = self.knowledge.newest();
        let scale = self.dice.below(25);
        let cut = 1 + self.dice.below(1 << scale);
        let first = self.get().header(header::RANGE, format!("bytes=0-{}", cut - 1));
        let Some((first_head, first)) = self.read(first).await else { return };
        assert_eq!(first_head.status, 206);
        let total: u64 = first_head.range.rsplit('/').next().unwrap().parse().unwrap();
        assert_eq!(first.len() as u64, cut.min(total));
        assert_eq!(first_head.range, format!("bytes 0-{}/{total}", first.len() - 1));
        if first.len() as u64 == total {
            let whole = Head { status: StatusCode::OK, length: total, ..first_head };
            self.check_whole(floor, &whole, &first);
            return;
        }
        let between = self.knowledge.newest();
        let rest = self.get().header(header::RANGE, format!("bytes={cut}-")).header(header::IF_RANGE, &first_head.etag);
        let Some((rest_head, rest)) = self.read(rest).await else { return };
        if rest_head.status == 206 {
            assert_eq!(rest_head.etag, first_head.etag);
            assert_eq!(rest_head.range, format!("bytes {cut}-{}/{total}", total - 1));
            assert_eq!(rest_head.length, rest.len() as u64);
            let whole = Head { status: StatusCode::OK, length: total, ..rest_head };
            self.check_whole(between, &whole, &[&first[..], &rest].concat());
        } else {
            assert_ne!(rest_head.etag, first_head.etag, "the version is the same, and its rest was refused");
            self.check_whole(between, &rest_head, &rest);
        }
    }
}

/// Hears of the changes: whoever begins to read after an event sees its version or a newer one.
fn listen(home: &Arc<Home>, knowledge: &Arc<Knowledge>) -> JoinHandle<Vec<u64>> {
    let (home, knowledge, client) = (home.clone(), knowledge.clone(), client());
    tokio::spawn(async move {
        let (mut after, mut numbers) = (0, Vec::new());
        loop {
            let was_stopped = knowledge.is_stopped();
            let url = home.url(&format!("/v1/events?collection=societes&wait=1&after={after}"));
            let (status, page) = told(client.get(url)).await;
            assert_eq!(status, 200, "{page}");
            let events = page["events"].as_array().unwrap();
            for event in events.iter().filter(|event| event["type"] == "file_uploaded") {
                let (number, _) = knowledge.sent(event["size"].as_u64().unwrap());
                knowledge.has_etag(number, &format!("\"{}\"", event["version"].as_str().unwrap()));
                assert!(numbers.last().is_none_or(|last| *last < number), "{number} was told after {numbers:?}");
                knowledge.newest.fetch_max(number, Ordering::SeqCst);
                numbers.push(number);
            }
            after = page["next"].as_u64().unwrap();
            if was_stopped && events.is_empty() {
                return numbers;
            }
        }
    })
}

/// A socket that counts: its message N tells of version N.
fn count_on_a_socket(mut socket: Socket, knowledge: &Arc<Knowledge>, last: u64) -> JoinHandle<()> {
    let knowledge = knowledge.clone();
    tokio::spawn(async move {
        let mut count = 0;
        while count < last {
            let message = socket.next().await.expect("the socket was closed").unwrap();
            let Ok(text) = message.into_text() else { continue };
            let Ok(message) = serde_json::from_str::<Value>(&text) else { continue };
            if message["type"] == "file_uploaded" {
                count += 1;
                knowledge.newest.fetch_max(count, Ordering::SeqCst);
            }
        }
    })
}

/// Lengths from 1 byte to 50 MB: mostly small.
fn length_of(number: u64, dice: &mut Dice) -> usize {
    match number {
        1..=9 => 2 * number as usize,
        _ if number % 25 == 10 => distinct(LARGEST, number),
        _ if number % 10 == 5 => distinct(1 << (20 + dice.below(3)), number),
        _ => distinct(1 << (5 + dice.below(13)), number),
    }
}

/// A length that no version of another number has.
fn distinct(length: usize, number: u64) -> usize {
    length / 1024 * 1024 + 1024 + 4 * number as usize
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_replaced_is_one_version_at_every_read() {
    const VERSIONS: u64 = 60;
    let home = Arc::new(Home::new(&Setup::default()));
    let _gateway = home.start().await;
    let (knowledge, mut dice, client) = (Arc::new(Knowledge::default()), Dice::new(1), client());
    let socket = home.socket("?after=0").await.unwrap();
    let counting = count_on_a_socket(socket, &knowledge, VERSIONS);
    let listening = listen(&home, &knowledge);
    let mut readers = Vec::new();
    for number in 1..=VERSIONS {
        let body = version(number, length_of(number, &mut dice));
        knowledge.will_be_sent(number, &body);
        let (status, told) = home.upload(&client, "acme", NAME, &body).await;
        assert_eq!((status, told["size"].as_u64()), (200, Some(body.len() as u64)), "{told}");
        knowledge.newest.fetch_max(number, Ordering::SeqCst);
        if readers.is_empty() {
            readers.extend((0..4).map(|_| Reader::start(&home, &knowledge, &mut dice, Others::Stay)));
        }
    }
    counting.await.unwrap();
    knowledge.stop.store(true, Ordering::SeqCst);
    for reader in readers {
        let reads = reader.await.unwrap();
        assert!(reads >= 10, "a reader came to {reads} reads");
    }
    assert_eq!(listening.await.unwrap(), (1..=VERSIONS).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_under_way_goes_on_over_replacements_and_a_delete() {
    let home = Home::new(&Setup::default());
    let _gateway = home.start().await;
    let client = client();
    let old = version(1, LARGEST / 4);
    home.upload(&client, "acme", NAME, &old).await;
    let mut download = client.get(home.url(FILE)).send().await.unwrap();
    let mut read = download.chunk().await.unwrap().unwrap().to_vec();
    for number in 2..5 {
        assert_eq!(home.upload(&client, "acme", NAME, &version(number, 100)).await.0, 200);
    }
    let (status, _) = told(client.delete(home.url("/api/files/delete/acme/comptes_2026.json"))).await;
    assert_eq!((status, client.get(home.url(FILE)).send().await.unwrap().status()), (200, StatusCode::NOT_FOUND));
    while let Some(piece) = download.chunk().await.unwrap() {
        read.extend_from_slice(&piece);
    }
    assert!(read == old, "the download is not of the version that it began with");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_program_replaces_by_rename() {
    const VERSIONS: u64 = 60;
    let home = Arc::new(Home::new(&Setup::default()));
    let _gateway = home.start().await;
    let (knowledge, mut dice, client) = (Arc::new(Knowledge::default()), Dice::new(2), client());
    let first = version(1, distinct(0, 1));
    knowledge.will_be_sent(1, &first);
    assert_eq!(home.upload(&client, "acme", NAME, &first).await.0, 200);
    let listening = listen(&home, &knowledge);
    let readers: Vec<_> = (0..3).map(|_| Reader::start(&home, &knowledge, &mut dice, Others::Rename)).collect();
    let place = home.path("data/files/acme").join(NAME);
    for number in 2..=VERSIONS {
        let large = if number % 20 == 0 { 8 << 20 } else { 1 << (5 + dice.below(13)) };
        let body = version(number, distinct(large, number));
        knowledge.will_be_sent(number, &body);
        if number % 7 == 0 {
            assert_eq!(home.upload(&client, "acme", NAME, &body).await.0, 200);
            knowledge.newest.fetch_max(number, Ordering::SeqCst);
        } else {
            replace_by_rename(&place, &body);
        }
        tokio::time::sleep(Duration::from_millis(dice.below(60))).await;
    }
    settles(&home, &client, &knowledge, VERSIONS).await;
    knowledge.stop.store(true, Ordering::SeqCst);
    for reader in readers {
        assert!(reader.await.unwrap() >= 10);
    }
    assert_eq!(listening.await.unwrap().last(), Some(&VERSIONS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_program_writes_in_place() {
    const VERSIONS: u64 = 60;
    let home = Arc::new(Home::new(&Setup::default()));
    let _gateway = home.start().await;
    let (knowledge, mut dice, client) = (Arc::new(Knowledge::default()), Dice::new(3), client());
    let first = version(1, distinct(0, 1));
    knowledge.will_be_sent(1, &first);
    assert_eq!(home.upload(&client, "acme", NAME, &first).await.0, 200);
    let readers: Vec<_> = (0..3).map(|_| Reader::start(&home, &knowledge, &mut dice, Others::WriteInPlace)).collect();
    let place = home.path("data/files/acme").join(NAME);
    for number in 2..=VERSIONS {
        let body = version(number, distinct(1 << (5 + dice.below(18)), number));
        knowledge.will_be_sent(number, &body);
        write_in_place(&place, &body, &mut dice).await;
        tokio::time::sleep(Duration::from_millis(dice.below(80))).await;
    }
    settles(&home, &client, &knowledge, VERSIONS).await;
    knowledge.stop.store(true, Ordering::SeqCst);
    for reader in readers {
        assert!(reader.await.unwrap() >= 10);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_that_is_cut_in_place_ends_as_an_error() {
    let home = Home::new(&Setup::default());
    let _gateway = home.start().await;
    let client = client();
    let body = version(1, LARGEST);
    assert_eq!(home.upload(&client, "acme", NAME, &body).await.0, 200);
    let mut download = client.get(home.url(FILE)).send().await.unwrap();
    let mut read = download.chunk().await.unwrap().unwrap().len();
    let place = home.path("data/files/acme").join(NAME);
    OpenOptions::new().write(true).open(&place).unwrap().set_len(body.len() as u64 - 1).unwrap();
    let error = loop {
        match download.chunk().await {
            Ok(Some(piece)) => read += piece.len(),
            Ok(None) => panic!("a download that was cut ended as a whole file after {read} bytes"),
            Err(error) => break error,
        }
    };
    assert!(error.is_body() || error.is_decode() || error.is_request(), "{error:?}");
    assert!(read < body.len());
    // What is there now is no JSON: it is not served, and the gateway goes on.
    assert_eq!(client.get(home.url(FILE)).send().await.unwrap().status(), 404);
    assert_eq!(home.upload(&client, "acme", NAME, &version(2, 10)).await.0, 200);
    assert_eq!(client.get(home.url(FILE)).send().await.unwrap().status(), 200);
}

fn replace_by_rename(place: &Path, body: &[u8]) {
    let beside = place.with_extension("part");
    fs::write(&beside, body).unwrap();
    fs::rename(&beside, place).unwrap();
}

/// As scripts do it: cut to nothing, then written piece by piece.
async fn write_in_place(place: &Path, body: &[u8], dice: &mut Dice) {
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(place).unwrap();
    let pieces = 1 + dice.below(4) as usize;
    let length = body.len().div_ceil(pieces);
    for (index, piece) in body.chunks(length).enumerate() {
        file.write_all_at(piece, (index * length) as u64).unwrap();
        tokio::time::sleep(Duration::from_millis(dice.below(5))).await;
    }
}

/// Once nobody writes any more, the last version is what all see.
async fn settles(home: &Home, client: &Client, knowledge: &Knowledge, last: u64) {
    let begun = Instant::now();
    loop {
        let (_, list) = told(client.get(home.url(LIST))).await;
        let size = list["files"][0]["size"].as_u64();
        if size.is_some_and(|size| knowledge.sent(size).0 == last) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "the last version is never listed: {list}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
