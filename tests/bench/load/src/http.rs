//! HTTP/1.1 as far as a measurement needs it: prepared bytes out, status and length in, bodies read and thrown away. A library
//! here would be measured with the server.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{Result, form};

/// Large enough that a body of 200 MB costs few calls.
const READ_BUFFER: usize = 1 << 20;

/// One connection that stays open.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub length: u64,
    /// The beginning of the body, as far as it fitted the buffer.
    pub body: Vec<u8>,
}

impl Answer {
    /// An error unless the server was content.
    pub fn expect_success(self) -> Result<Self> {
        match self.status {
            200..300 => Ok(self),
            status => Err(format!("answered {status}: {}", String::from_utf8_lossy(&self.body)).into()),
        }
    }
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; READ_BUFFER] })
    }

    /// Sends the pieces of one request and reads its answer to the end.
    pub async fn exchange(&mut self, pieces: &[&[u8]]) -> Result<Answer> {
        for piece in pieces {
            self.stream.write_all(piece).await?;
        }
        self.answer().await
    }

    pub async fn get(&mut self, target: &str) -> Result<Answer> {
        self.exchange(&[&form::get(target)]).await
    }

    pub async fn delete(&mut self, target: &str) -> Result<Answer> {
        self.exchange(&[format!("DELETE {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()]).await
    }

    async fn answer(&mut self) -> Result<Answer> {
        let mut filled = 0;
        let head = loop {
            if let Some(end) = find(&self.buffer[..filled], b"\r\n\r\n") {
                break end + 4;
            }
            filled += self.read(filled).await?;
        };
        let (status, length) = parse_head(&self.buffer[..head])?;
        let in_buffer = (filled - head).min(length as usize);
        let mut body = self.buffer[head..head + in_buffer].to_vec();
        let mut received = in_buffer as u64;
        while received < length {
            let read = self.read(0).await?;
            received += read as u64;
            if body.len() < 4096 {
                body.extend_from_slice(&self.buffer[..read.min(4096)]);
            }
        }
        Ok(Answer { status, length, body })
    }

    async fn read(&mut self, from: usize) -> Result<usize> {
        match self.stream.read(&mut self.buffer[from..]).await? {
            0 => Err("the server closed the connection".into()),
            read => Ok(read),
        }
    }
}

/// Status and length of the body.
fn parse_head(head: &[u8]) -> Result<(u16, u64)> {
    let head = std::str::from_utf8(head)?;
    let mut lines = head.split("\r\n");
    let status: u16 = lines.next().and_then(|line| line.split(' ').nth(1)).ok_or("no status line")?.parse()?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim())
    });
    match length {
        Some(length) => Ok((status, length.parse()?)),
        None if status == 204 => Ok((status, 0)),
        None => Err(format!("an answer without a length: {head}").into()),
    }
}

pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
