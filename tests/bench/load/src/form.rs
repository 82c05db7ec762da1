//! Requests as they go over the wire: multipart forms for the gateway, PUT for nginx. The content is sent from where it lies.

use crate::Result;
use crate::http::find;

const BOUNDARY: &str = "----tidegate-bench-7f3a9c";

/// What stands before and after the content of a request.
pub struct Envelope {
    pub before: Vec<u8>,
    pub after: Vec<u8>,
}

impl Envelope {
    pub fn pieces<'a>(&'a self, content: &'a [u8]) -> [&'a [u8]; 3] {
        [&self.before, content, &self.after]
    }

    /// All in one, for what is small enough to go out in one call.
    pub fn whole(&self, content: &[u8]) -> Vec<u8> {
        self.pieces(content).concat()
    }
}

/// A prepared request with a number in it, another one each time it is sent: in the name of a file that is to be new.
#[derive(Clone)]
pub struct Numbered {
    request: Vec<u8>,
    place: usize,
}

impl Numbered {
    /// What stands in a name for the number.
    pub const DIGITS: &str = "@@@@@@@@";

    pub fn new(request: Vec<u8>) -> Result<Self> {
        let place = find(&request, Self::DIGITS.as_bytes()).ok_or("the request has no place for a number")?;
        Ok(Self { request, place })
    }

    pub fn with(&mut self, number: usize) -> &[u8] {
        let digits = self.place..self.place + Self::DIGITS.len();
        self.request[digits].copy_from_slice(format!("{number:08}").as_bytes());
        &self.request
    }
}

/// A chunk in dialect B, its fields first.
pub fn chunk(session: &str, number: usize, file_name: &str, length: usize) -> Envelope {
    let number = number.to_string();
    let fields = [("sessionId", session), ("chunkNumber", number.as_str()), ("fileName", file_name)];
    let fields: String = fields
        .iter()
        .map(|(name, value)| {
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        })
        .collect();
    let head = format!(
        "{fields}--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"chunk\"; filename=\"blob\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    multipart("/fileupload/upload_chunk/", &head, length)
}

/// A file in dialect C.
pub fn file(societe: &str, file_name: &str, length: usize) -> Envelope {
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{file_name}\"\r\n\
         Content-Type: application/json\r\n\r\n"
    );
    multipart(&format!("/api/files/upload/{societe}"), &head, length)
}

fn multipart(target: &str, head: &str, length: usize) -> Envelope {
    let after = format!("\r\n--{BOUNDARY}--\r\n");
    let total = head.len() + length + after.len();
    let before = format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n\
         Content-Length: {total}\r\n\r\n{head}"
    );
    Envelope { before: before.into_bytes(), after: after.into_bytes() }
}

pub fn put(target: &str, length: usize) -> Envelope {
    let before = format!("PUT {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
    Envelope { before: before.into_bytes(), after: Vec::new() }
}

pub fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

pub fn complete(session: &str) -> Vec<u8> {
    let body = format!("{{\"sessionId\": \"{session}\"}}");
    format!(
        "POST /fileupload/complete_upload/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
