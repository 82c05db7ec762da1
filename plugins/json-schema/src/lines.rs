//! One JSON text on each line: a file of any length, of which one line is in memory at a time.

use tidegate_plugin_sdk::{Bytes, PluginError};

use crate::checker::Checker;
use crate::memory::{Reservation, TIMES_ITS_SIZE};
use crate::report::Report;

/// Gathers pieces of a file into blocks of whole lines.
#[derive(Default)]
pub struct Lines {
    /// The begin of a line whose end is not there yet, and the memory for it.
    open: Vec<u8>,
    memory: Option<Reservation>,
    /// The lines before the next block.
    before: u64,
}

/// Whole lines that are still to be checked.
pub struct Block {
    bytes: Bytes,
    /// Where the next line begins, and its number.
    next: usize,
    number: u64,
    /// For the first line, if that was long in coming.
    memory: Option<Reservation>,
}

/// What a piece of a file has brought.
#[derive(Default)]
pub struct Gathered {
    pub blocks: Vec<Block>,
    /// Why the line after them cannot be checked.
    pub failure: Option<PluginError>,
}

impl Gathered {
    pub fn failed(failure: PluginError) -> Self {
        Self { blocks: Vec::new(), failure: Some(failure) }
    }
}

impl Lines {
    /// The blocks that end in this piece: the line that was open, and those that are whole in it.
    pub fn push(&mut self, checker: &Checker, piece: &Bytes) -> Gathered {
        let mut gathered = Gathered::default();
        gathered.failure = self.gather(checker, piece.clone(), &mut gathered.blocks).err();
        gathered
    }

    fn gather(&mut self, checker: &Checker, mut rest: Bytes, blocks: &mut Vec<Block>) -> Result<(), PluginError> {
        if !self.open.is_empty() {
            let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
            self.keep(checker, &rest.split_to(end))?;
            if self.open.last() != Some(&b'\n') {
                return Ok(());
            }
            blocks.extend(self.take_open());
        }
        let end = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        if end > 0 {
            let bytes = rest.split_to(end);
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
            blocks.push(Block { bytes, next: 0, number: self.before + 1, memory: None });
            self.before += lines;
        }
        self.keep(checker, &rest)
    }

    /// The last line, if nothing ended it.
    pub fn finish(mut self) -> Option<Block> {
        self.take_open()
    }

    fn keep(&mut self, checker: &Checker, bytes: &[u8]) -> Result<(), PluginError> {
        if bytes.is_empty() {
            return Ok(());
        }
        // The vector grows to the double at most; the document itself is reserved when it is checked.
        let size = (self.open.len() + bytes.len()) as u64;
        let line = self.before + 1;
        let content = size - self.length_of_end(bytes);
        let reserved = match self.memory.take() {
            Some(mut memory) if content <= checker.max_document.get() => memory.grow_to(2 * size).map(|()| memory),
            _ => checker.reserve(content, &format_args!("line {line}")),
        };
        self.memory = Some(reserved?);
        self.open.extend_from_slice(bytes);
        Ok(())
    }

    /// How much of what ends a line stands at the end of the open one with these bytes.
    fn length_of_end(&self, bytes: &[u8]) -> u64 {
        let (before, feed) = bytes.strip_suffix(b"\n").map_or((bytes, 0), |before| (before, 1));
        let last = before.last().or(self.open.last());
        feed + u64::from(last == Some(&b'\r'))
    }

    fn take_open(&mut self) -> Option<Block> {
        if self.open.is_empty() {
            return None;
        }
        self.before += 1;
        let bytes = Bytes::from(std::mem::take(&mut self.open));
        Some(Block { bytes, next: 0, number: self.before, memory: self.memory.take() })
    }
}

impl Block {
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Checks the lines, blank ones aside. One that is checked is not checked again if the check is halted and begun anew.
    pub fn check(&mut self, checker: &Checker, report: &mut Report) -> Result<(), PluginError> {
        while self.next < self.bytes.len() && !report.is_complete() {
            let rest = &self.bytes[self.next..];
            let length = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            self.check_line(checker, length, report)?;
            self.next += length + 1;
            self.number += 1;
        }
        Ok(())
    }

    fn check_line(&mut self, checker: &Checker, length: usize, report: &mut Report) -> Result<(), PluginError> {
        let line = &self.bytes[self.next..self.next + length];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        // What was held while the line was gathered holds for its check, too.
        let mut memory = match self.memory.take() {
            Some(mut memory) => {
                memory.grow_to(line.len() as u64 * TIMES_ITS_SIZE)?;
                memory
            }
            None => checker.reserve(line.len() as u64, &format_args!("line {}", self.number))?,
        };
        checker.check(line, Some(self.number), &mut memory, report)
    }
}
