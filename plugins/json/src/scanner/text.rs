//! The document as text: its encoding, UTF-8 across pieces, and which line and column a byte is in. Knows no JSON.

/// Where a byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// From 1. A line ends with `\n`.
    pub line: u64,
    /// From 1, in characters (code points).
    pub column: u64,
    /// From 0, in bytes.
    pub offset: u64,
}

/// Counts lines and characters of what was scanned.
#[derive(Debug, Clone, Default)]
pub(super) struct Ruler {
    offset: u64,
    /// Line ends so far.
    lines: u64,
    /// Characters since the last of them.
    characters: u64,
}

impl Ruler {
    /// Moves past a piece. Its UTF-8 is valid, but for a character that its end may cut.
    pub(super) fn advance(&mut self, piece: &[u8]) {
        let line_ends = count(piece, |byte| byte == b'\n');
        let last_line = if line_ends == 0 {
            piece
        } else {
            self.lines += line_ends;
            self.characters = 0;
            let last = piece.iter().rposition(|byte| *byte == b'\n');
            last.map_or(piece, |last| &piece[last + 1..])
        };
        self.characters += count(last_line, |byte| !is_continuation(byte));
        self.offset += piece.len() as u64;
    }

    /// Where the next byte is.
    pub(super) fn position(&self) -> Position {
        Position { line: self.lines + 1, column: self.characters + 1, offset: self.offset }
    }

    /// Where the byte is that lies `bytes` bytes and `characters` characters back, in the same line.
    pub(super) fn back(&self, bytes: u64, characters: u64) -> Position {
        Position {
            line: self.lines + 1,
            column: (self.characters + 1).saturating_sub(characters),
            offset: self.offset.saturating_sub(bytes),
        }
    }
}

fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

/// How many bytes are as wanted. Summed in bytes over short runs, so that the compiler makes vectors of it.
fn count(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> u64 {
    bytes.chunks(192).map(|run| u64::from(run.iter().map(|byte| u8::from(wanted(*byte))).sum::<u8>())).sum()
}

/// Checks UTF-8 piece by piece.
#[derive(Debug, Clone, Default)]
pub(super) struct Utf8 {
    /// A character that the last piece began and did not end.
    open: [u8; 4],
    open_length: usize,
}

/// A place as seen from a piece's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    In(usize),
    /// This many bytes before it, in what a former piece began and did not end.
    Before(usize),
}

impl Place {
    /// One byte further.
    pub(super) fn next(self) -> Self {
        match self {
            Place::In(at) => Place::In(at + 1),
            Place::Before(1) => Place::In(0),
            Place::Before(bytes) => Place::Before(bytes - 1),
        }
    }

    pub(super) fn is_before(self, other: Place) -> bool {
        match (self, other) {
            (Place::In(this), Place::In(other)) => this < other,
            (Place::Before(this), Place::Before(other)) => this > other,
            (Place::Before(_), Place::In(_)) => true,
            (Place::In(_), Place::Before(_)) => false,
        }
    }
}

impl Utf8 {
    pub(super) fn push(&mut self, mut piece: &[u8]) -> Result<(), Place> {
        let mut taken = 0;
        let open_before = self.open_length;
        while self.open_length > 0 {
            let Some((&byte, rest)) = piece.split_first() else { return Ok(()) };
            self.open[self.open_length] = byte;
            match std::str::from_utf8(&self.open[..=self.open_length]) {
                Ok(_) => self.open_length = 0,
                Err(error) if error.error_len().is_none() => self.open_length += 1,
                Err(_) => return Err(Place::Before(open_before)),
            }
            (piece, taken) = (rest, taken + 1);
        }
        if simdutf8::basic::from_utf8(piece).is_ok() {
            return Ok(());
        }
        match simdutf8::compat::from_utf8(piece) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_none() => {
                let open = &piece[error.valid_up_to()..];
                self.open[..open.len()].copy_from_slice(open);
                self.open_length = open.len();
                Ok(())
            }
            Err(error) => Err(Place::In(taken + error.valid_up_to())),
        }
    }

    /// How many bytes of a character wait for the rest of it.
    pub(super) fn open_length(&self) -> usize {
        self.open_length
    }
}

/// What the first four bytes give away (fewer where there are no more). JSON begins with ASCII, so a NUL beside it
/// says how wide a character is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As far as one can tell.
    Utf8,
    Utf8WithMark,
    /// By name.
    Other(&'static str),
}

impl Encoding {
    pub(super) fn of(start: &[u8]) -> Self {
        match *start {
            [0xef, 0xbb, 0xbf, ..] => Encoding::Utf8WithMark,
            [0, 0, 0xfe, 0xff] => Encoding::Other("UTF-32"),
            [0xff, 0xfe, 0, 0] => Encoding::Other("UTF-32"),
            [0xfe, 0xff, ..] | [0xff, 0xfe, ..] => Encoding::Other("UTF-16"),
            [0, 0, 0, first] | [first, 0, 0, 0] if may_begin(first) => Encoding::Other("UTF-32"),
            [0, first, ..] | [first, 0, ..] if may_begin(first) => Encoding::Other("UTF-16"),
            _ => Encoding::Utf8,
        }
    }
}

/// Whether a JSON document can begin with this byte.
fn may_begin(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_encodings_by_their_first_bytes() {
        let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        let utf16_big = |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<_>>();
        let utf32 = |text: &str| text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect::<Vec<_>>();
        let utf32_big = |text: &str| text.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect::<Vec<_>>();
        let of = |bytes: Vec<u8>| Encoding::of(&bytes[..bytes.len().min(4)]);
        for text in ["{}", "\u{feff}[]", "[é]", "\"é", "1"] {
            assert_eq!(of(utf16(text)), Encoding::Other("UTF-16"), "{text}");
            assert_eq!(of(utf16_big(text)), Encoding::Other("UTF-16"), "{text}");
            assert_eq!(of(utf32(text)), Encoding::Other("UTF-32"), "{text}");
            assert_eq!(of(utf32_big(text)), Encoding::Other("UTF-32"), "{text}");
        }
        assert_eq!(Encoding::of("\u{feff}{".as_bytes()), Encoding::Utf8WithMark);
        // An MP4 file, which begins with a length.
        assert_eq!(Encoding::of(&[0, 0, 0, 0x18]), Encoding::Utf8);
    }

    #[test]
    fn counts_characters_across_pieces() {
        let text = "é\n日本\u{1f600}x\r\nz".as_bytes();
        for cut in 0..=text.len() {
            let mut ruler = Ruler::default();
            ruler.advance(&text[..cut]);
            ruler.advance(&text[cut..]);
            assert_eq!(ruler.position(), Position { line: 3, column: 2, offset: text.len() as u64 });
        }
        let mut long = Ruler::default();
        long.advance(&[b'x'; 1000]);
        assert_eq!(long.position().column, 1001);
    }

    #[test]
    fn finds_broken_utf8_wherever_it_is_cut() {
        for (bytes, broken) in [
            (&b"ab\xffc"[..], Some(2)),
            (b"a\xe2\x82\xac", None),
            (b"a\xe2\x82(", Some(1)),
            (b"\xf0\x9f\x98\x80\xf0\x9f\x98", None),
            (b"x\xed\xa0\x80", Some(1)),
            (b"\xc0\xaf", Some(0)),
            (b"\xf4\x90\x80\x80", Some(0)),
        ] {
            for cut in 0..=bytes.len() {
                let mut utf8 = Utf8::default();
                let found = match utf8.push(&bytes[..cut]) {
                    Ok(()) => utf8.push(&bytes[cut..]).map_err(|at| match at {
                        Place::In(at) => cut + at,
                        Place::Before(back) => cut - back,
                    }),
                    Err(Place::In(at)) => Err(at),
                    Err(Place::Before(_)) => unreachable!("nothing came before"),
                };
                assert_eq!(found.err(), broken, "{bytes:?} cut at {cut}");
            }
        }
    }
}
