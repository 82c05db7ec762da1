//! What is wrong with a document, and where: in words for whoever wrote it.

use std::fmt;

use super::text::Position;

/// Why a document is refused, and the byte that gave it away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    pub kind: SyntaxErrorKind,
    pub position: Position,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyntaxErrorKind {
    /// Nothing, or white space alone.
    Empty,
    /// The document ends in the middle.
    UnexpectedEnd {
        expected: &'static str,
    },
    UnexpectedByte {
        expected: &'static str,
        found: u8,
    },
    /// U+0000 to U+001F inside a string, which must be escaped there.
    ControlCharacter(u8),
    TooDeep {
        max_depth: usize,
    },
    NotUtf8,
    ByteOrderMark,
    /// `UTF-16` or `UTF-32`.
    Encoding(&'static str),
    /// `NaN`, `Infinity` or `-Infinity`.
    NotANumber(&'static str),
}

impl SyntaxError {
    /// Stable; programs read it.
    pub fn code(&self) -> &'static str {
        match self.kind {
            SyntaxErrorKind::Empty => "json-empty",
            SyntaxErrorKind::UnexpectedEnd { .. }
            | SyntaxErrorKind::UnexpectedByte { .. }
            | SyntaxErrorKind::ControlCharacter(_) => "json-syntax",
            SyntaxErrorKind::TooDeep { .. } => "json-depth",
            SyntaxErrorKind::NotUtf8 => "json-utf8",
            SyntaxErrorKind::ByteOrderMark => "json-bom",
            SyntaxErrorKind::Encoding(_) => "json-encoding",
            SyntaxErrorKind::NotANumber(_) => "json-nan",
        }
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { line, column, offset } = self.position;
        write!(formatter, "{} at line {line}, column {column} (byte {offset})", self.kind)
    }
}

impl std::error::Error for SyntaxError {}

impl fmt::Display for SyntaxErrorKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SyntaxErrorKind::Empty => formatter.write_str("the file is empty, expected a JSON value"),
            SyntaxErrorKind::UnexpectedEnd { expected } => write!(formatter, "expected {expected}, but the file ends"),
            SyntaxErrorKind::UnexpectedByte { expected, found } => {
                write!(formatter, "expected {expected}, found {}", Shown(*found))
            }
            SyntaxErrorKind::ControlCharacter(byte) => {
                write!(formatter, "a string holds {}, which must be written as an escape", Shown(*byte))
            }
            SyntaxErrorKind::TooDeep { max_depth } => {
                write!(formatter, "arrays and objects are nested more than {max_depth} deep")
            }
            SyntaxErrorKind::NotUtf8 => formatter.write_str("the text is not valid UTF-8"),
            SyntaxErrorKind::ByteOrderMark => {
                formatter.write_str("the file begins with a byte-order mark, which JSON does not allow")
            }
            SyntaxErrorKind::Encoding(name) => write!(formatter, "the file is {name}, and JSON must be UTF-8"),
            SyntaxErrorKind::NotANumber(word) => {
                write!(formatter, "`{word}` is no JSON (Python writes it unless told `allow_nan=False`)")
            }
        }
    }
}

/// A byte as a person knows it.
struct Shown(u8);

impl fmt::Display for Shown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            b'\n' => formatter.write_str("the end of the line"),
            b'\r' => formatter.write_str("a carriage return"),
            b'\t' => formatter.write_str("a tab"),
            b' ' => formatter.write_str("a blank"),
            b'`' => formatter.write_str("a backtick"),
            byte @ 0x21..=0x7e => write!(formatter, "`{}`", char::from(byte)),
            byte @ 0x80.. => write!(formatter, "a character outside ASCII (byte 0x{byte:02X})"),
            byte => write!(formatter, "the control character U+{byte:04X}"),
        }
    }
}
