//! A push-down scanner for JSON: it says whether bytes are a JSON text (RFC 8259), and where they stop being one.
//!
//! It builds nothing and remembers one bit for each open bracket, so a document of any size is checked in a few
//! hundred bytes, in pieces of any size, and the pieces do not show in the answer. What a document *means*
//! (duplicate keys, numbers that no machine holds, surrogates that stand alone) is none of its business.

mod automaton;
mod brackets;
mod error;
mod skip;
mod text;

use automaton::{Automaton, Failure};
pub use error::{SyntaxError, SyntaxErrorKind};
pub use text::Position;
use text::{Encoding, Place, Ruler, Utf8};

/// How much of a piece goes through all steps at a time: what stays in the fastest cache.
const BLOCK: usize = 16 * 1024;

/// As many bytes as tell encodings apart.
const START: usize = 4;

/// Checks one document.
#[derive(Debug, Clone)]
pub struct Scanner {
    automaton: Automaton,
    utf8: Utf8,
    ruler: Ruler,
    /// The first bytes, held back until there are enough to know the encoding.
    start: [u8; START],
    start_length: usize,
    failed: Option<SyntaxError>,
}

impl Scanner {
    /// For a document whose arrays and objects are nested at most `max_depth` deep; 0 allows none.
    pub fn new(max_depth: usize) -> Self {
        Self {
            automaton: Automaton::new(max_depth),
            utf8: Utf8::default(),
            ruler: Ruler::default(),
            start: [0; START],
            start_length: 0,
            failed: None,
        }
    }

    /// Takes the next bytes. After an error each call gives the same one.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), SyntaxError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.push_from_start(bytes);
        if let Err(error) = &result {
            self.failed = Some(error.clone());
        }
        result
    }

    /// The document ends here.
    pub fn finish(mut self) -> Result<(), SyntaxError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.start_length < START {
            let start = self.start;
            let start = &start[..self.start_length];
            self.look_at_start(start)?;
            self.scan(start)?;
        }
        let open = self.utf8.open_length();
        let end = if open > 0 {
            Err(Failure { kind: SyntaxErrorKind::NotUtf8, at: Place::Before(open) })
        } else {
            self.automaton.finish()
        };
        end.map_err(|failure| self.locate(failure, &[]))
    }

    fn push_from_start(&mut self, mut bytes: &[u8]) -> Result<(), SyntaxError> {
        if self.start_length < START {
            if self.start_length == 0 && bytes.len() >= START {
                self.look_at_start(&bytes[..START])?;
                self.start_length = START;
            } else {
                let (taken, rest) = bytes.split_at(bytes.len().min(START - self.start_length));
                self.start[self.start_length..][..taken.len()].copy_from_slice(taken);
                self.start_length += taken.len();
                if self.start_length < START {
                    return Ok(());
                }
                let start = self.start;
                self.look_at_start(&start)?;
                self.scan(&start)?;
                bytes = rest;
            }
        }
        bytes.chunks(BLOCK).try_for_each(|block| self.scan(block))
    }

    fn look_at_start(&self, start: &[u8]) -> Result<(), SyntaxError> {
        let kind = match Encoding::of(start) {
            Encoding::Utf8 => return Ok(()),
            Encoding::Utf8WithMark => SyntaxErrorKind::ByteOrderMark,
            Encoding::Other(name) => SyntaxErrorKind::Encoding(name),
        };
        Err(SyntaxError { kind, position: self.ruler.position() })
    }

    /// Text first, grammar second; whichever finds the earlier byte is right.
    fn scan(&mut self, piece: &[u8]) -> Result<(), SyntaxError> {
        let broken = self.utf8.push(piece).err();
        let failure = self.automaton.push(piece).err();
        let failure = match (broken, failure) {
            (None, None) => {
                self.ruler.advance(piece);
                return Ok(());
            }
            (Some(at), Some(failure)) if !at.is_before(failure.at) => failure,
            (Some(at), _) => Failure { kind: SyntaxErrorKind::NotUtf8, at },
            (None, Some(failure)) => failure,
        };
        Err(self.locate(failure, piece))
    }

    fn locate(&self, failure: Failure, piece: &[u8]) -> SyntaxError {
        let position = match failure.at {
            Place::In(at) => {
                let mut ruler = self.ruler.clone();
                ruler.advance(&piece[..at]);
                ruler.position()
            }
            // An open character is one, however many of its bytes were there.
            Place::Before(back) if failure.kind == SyntaxErrorKind::NotUtf8 => self.ruler.back(back as u64, 1),
            Place::Before(back) => self.ruler.back(back as u64, back as u64),
        };
        SyntaxError { kind: failure.kind, position }
    }
}
