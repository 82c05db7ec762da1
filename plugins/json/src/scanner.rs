//! A push-down scanner for JSON: it says whether bytes are a JSON text (RFC 8259), and where they stop being one.
//!
//! It builds nothing and remembers one bit for each open bracket, so a document of any size is checked in a few
//! hundred bytes, in pieces of any size, and the pieces do not show in the answer. What a document *means*
//! (duplicate keys, numbers that no machine holds, surrogates that stand alone) is none of its business.

mod brackets;
mod error;
mod skip;
mod text;

use brackets::Brackets;
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
    state: State,
    brackets: Brackets,
    utf8: Utf8,
    ruler: Ruler,
    /// The first bytes, held back until there are enough to know the encoding.
    start: [u8; START],
    start_length: usize,
    failed: Option<SyntaxError>,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A value, at the beginning or after a colon.
    Value,
    /// A value after a comma.
    NextElement,
    /// A value or `]`.
    FirstElement,
    /// A key or `}`.
    FirstKey,
    /// A key after a comma.
    NextKey,
    Colon,
    /// A comma, a closing bracket, or the end of it all.
    AfterValue,
    Text(Role),
    Escape(Role),
    /// This many hexadecimal digits of a `\u` escape.
    Hex(Role, u8),
    /// A digit after `-`.
    Minus,
    /// What may follow a number's leading `0`.
    Zero,
    /// More digits before the point.
    Integer,
    /// A digit after the point.
    Point,
    /// More digits after the point.
    Fraction,
    /// A sign or a digit after `e`.
    Exponent,
    /// A digit after the exponent's sign.
    ExponentSign,
    /// More digits of the exponent.
    ExponentDigits,
    /// The rest of a word, of which so many bytes were there.
    Word(Word, u8),
}

/// What a string is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Key,
    Value,
}

/// Words, and those that look like one to the programs which write them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    True,
    False,
    Null,
    NaN,
    Infinity,
    MinusInfinity,
}

impl Word {
    fn text(self) -> &'static str {
        match self {
            Word::True => "true",
            Word::False => "false",
            Word::Null => "null",
            Word::NaN => "NaN",
            Word::Infinity => "Infinity",
            Word::MinusInfinity => "-Infinity",
        }
    }

    fn is_json(self) -> bool {
        matches!(self, Word::True | Word::False | Word::Null)
    }
}

/// What is wrong, and where, counted from the piece's start. A place before it is in the same line, in ASCII.
struct Failure {
    kind: SyntaxErrorKind,
    at: Place,
}

impl Failure {
    fn unexpected(expected: &'static str, found: u8, at: usize) -> Self {
        Self { kind: SyntaxErrorKind::UnexpectedByte { expected, found }, at: Place::In(at) }
    }
}

impl Scanner {
    /// For a document whose arrays and objects are nested at most `max_depth` deep; 0 allows none.
    pub fn new(max_depth: usize) -> Self {
        Self {
            state: State::Value,
            brackets: Brackets::new(max_depth),
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
        let position = self.ruler.position();
        let open = self.utf8.open_length() as u64;
        if open > 0 {
            return Err(SyntaxError { kind: SyntaxErrorKind::NotUtf8, position: self.ruler.back(open, 1) });
        }
        let expected = match self.state {
            State::AfterValue | State::Zero | State::Integer | State::Fraction | State::ExponentDigits
                if self.brackets.is_empty() =>
            {
                return Ok(());
            }
            State::Value if self.brackets.is_empty() => {
                return Err(SyntaxError { kind: SyntaxErrorKind::Empty, position });
            }
            State::Word(word, matched) if !word.is_json() => {
                return Err(self.locate(Self::not_a_word(word, matched, 0), &[]));
            }
            state => self.expected(state),
        };
        Err(SyntaxError { kind: SyntaxErrorKind::UnexpectedEnd { expected }, position })
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
        let failure = self.step_through(piece).err();
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

    /// The automaton. Each turn takes a token, or what there is of one; a state is enough to go on from.
    fn step_through(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let mut at = 0;
        let mut state = self.state;
        loop {
            state = match state {
                State::Value | State::NextElement | State::FirstElement => {
                    at = skip::white_space(bytes, at);
                    let Some(&byte) = bytes.get(at) else { break };
                    at += 1;
                    match byte {
                        b'"' => State::Text(Role::Value),
                        b'{' => self.open(true, at - 1)?,
                        b'[' => self.open(false, at - 1)?,
                        b'1'..=b'9' => State::Integer,
                        b'0' => State::Zero,
                        b'-' => State::Minus,
                        b't' => State::Word(Word::True, 1),
                        b'f' => State::Word(Word::False, 1),
                        b'n' => State::Word(Word::Null, 1),
                        b'N' => State::Word(Word::NaN, 1),
                        b'I' => State::Word(Word::Infinity, 1),
                        b']' if state == State::FirstElement => {
                            self.brackets.close();
                            State::AfterValue
                        }
                        _ => return Err(Failure::unexpected(self.expected(state), byte, at - 1)),
                    }
                }
                State::AfterValue => {
                    at = skip::white_space(bytes, at);
                    let Some(&byte) = bytes.get(at) else { break };
                    at += 1;
                    let in_object = self.brackets.in_object();
                    match byte {
                        b',' if in_object => State::NextKey,
                        b',' if !self.brackets.is_empty() => State::NextElement,
                        b'}' if in_object => {
                            self.brackets.close();
                            State::AfterValue
                        }
                        b']' if !in_object && !self.brackets.is_empty() => {
                            self.brackets.close();
                            State::AfterValue
                        }
                        _ => return Err(Failure::unexpected(self.expected(state), byte, at - 1)),
                    }
                }
                State::FirstKey | State::NextKey => {
                    at = skip::white_space(bytes, at);
                    let Some(&byte) = bytes.get(at) else { break };
                    at += 1;
                    match byte {
                        b'"' => State::Text(Role::Key),
                        b'}' if state == State::FirstKey => {
                            self.brackets.close();
                            State::AfterValue
                        }
                        _ => return Err(Failure::unexpected(self.expected(state), byte, at - 1)),
                    }
                }
                State::Colon => {
                    at = skip::white_space(bytes, at);
                    let Some(&byte) = bytes.get(at) else { break };
                    if byte != b':' {
                        return Err(Failure::unexpected(self.expected(state), byte, at));
                    }
                    at += 1;
                    State::Value
                }
                State::Text(role) => {
                    at = skip::plain_text(bytes, at);
                    let Some(&byte) = bytes.get(at) else { break };
                    at += 1;
                    match (byte, role) {
                        (b'"', Role::Key) if bytes.get(at) == Some(&b':') => {
                            at += 1;
                            State::Value
                        }
                        (b'"', Role::Key) => State::Colon,
                        (b'"', Role::Value) => State::AfterValue,
                        (b'\\', _) => State::Escape(role),
                        _ => {
                            let kind = SyntaxErrorKind::ControlCharacter(byte);
                            return Err(Failure { kind, at: Place::In(at - 1) });
                        }
                    }
                }
                State::Escape(role) => {
                    let Some(&byte) = bytes.get(at) else { break };
                    at += 1;
                    match byte {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => State::Text(role),
                        b'u' => State::Hex(role, 4),
                        _ => return Err(Failure::unexpected(self.expected(state), byte, at - 1)),
                    }
                }
                State::Hex(role, left) => {
                    let Some(&byte) = bytes.get(at) else { break };
                    if !byte.is_ascii_hexdigit() {
                        return Err(Failure::unexpected(self.expected(state), byte, at));
                    }
                    at += 1;
                    if left > 1 { State::Hex(role, left - 1) } else { State::Text(role) }
                }
                State::Integer | State::Zero => {
                    if state == State::Integer {
                        at = digits(bytes, at);
                    }
                    match bytes.get(at) {
                        None => break,
                        Some(b'.') => {
                            at += 1;
                            State::Point
                        }
                        Some(b'e' | b'E') => {
                            at += 1;
                            State::Exponent
                        }
                        Some(&byte) if byte.is_ascii_digit() => {
                            return Err(Failure::unexpected(self.expected(state), byte, at));
                        }
                        Some(_) => State::AfterValue,
                    }
                }
                State::Fraction => {
                    at = digits(bytes, at);
                    match bytes.get(at) {
                        None => break,
                        Some(b'e' | b'E') => {
                            at += 1;
                            State::Exponent
                        }
                        Some(_) => State::AfterValue,
                    }
                }
                State::ExponentDigits => {
                    at = digits(bytes, at);
                    if at == bytes.len() {
                        break;
                    }
                    State::AfterValue
                }
                State::Minus | State::Point | State::Exponent | State::ExponentSign => {
                    let Some(&byte) = bytes.get(at) else { break };
                    at += 1;
                    match (state, byte) {
                        (State::Minus, b'0') => State::Zero,
                        (State::Minus, b'1'..=b'9') => State::Integer,
                        (State::Minus, b'I') => State::Word(Word::MinusInfinity, 2),
                        (State::Point, b'0'..=b'9') => State::Fraction,
                        (State::Exponent, b'+' | b'-') => State::ExponentSign,
                        (State::Exponent | State::ExponentSign, b'0'..=b'9') => State::ExponentDigits,
                        _ => return Err(Failure::unexpected(self.expected(state), byte, at - 1)),
                    }
                }
                State::Word(word, matched) => {
                    let rest = &word.text().as_bytes()[usize::from(matched)..];
                    let common = rest.iter().zip(&bytes[at..]).take_while(|(wanted, byte)| wanted == byte).count();
                    at += common;
                    let matched = matched + common as u8;
                    if common == rest.len() {
                        if !word.is_json() {
                            let kind = SyntaxErrorKind::NotANumber(word.text());
                            return Err(Failure { kind, at: back_from(at, matched) });
                        }
                        State::AfterValue
                    } else if let Some(&byte) = bytes.get(at) {
                        if !word.is_json() {
                            return Err(Self::not_a_word(word, matched, at));
                        }
                        return Err(Failure::unexpected(self.expected(state), byte, at));
                    } else {
                        state = State::Word(word, matched);
                        break;
                    }
                }
            };
        }
        self.state = state;
        Ok(())
    }

    fn open(&mut self, object: bool, at: usize) -> Result<State, Failure> {
        if !self.brackets.open(object) {
            let kind = SyntaxErrorKind::TooDeep { max_depth: self.brackets.max_depth() };
            return Err(Failure { kind, at: Place::In(at) });
        }
        Ok(if object { State::FirstKey } else { State::FirstElement })
    }

    /// `N`, `I` or `-I` began no word that anybody writes, so the letter is what was wrong.
    fn not_a_word(word: Word, matched: u8, at: usize) -> Failure {
        let (expected, found, letters) = match word {
            Word::MinusInfinity => ("a digit after `-`", b'I', matched - 1),
            _ => ("a value", word.text().as_bytes()[0], matched),
        };
        Failure { kind: SyntaxErrorKind::UnexpectedByte { expected, found }, at: back_from(at, letters) }
    }

    /// What could have stood there, in words.
    #[cold]
    fn expected(&self, state: State) -> &'static str {
        match state {
            State::Value => "a value",
            State::NextElement => "a value after the comma",
            State::FirstElement => "a value or `]`",
            State::FirstKey => "a key in double quotes or `}`",
            State::NextKey => "a key in double quotes after the comma",
            State::Colon => "`:` after the key",
            State::AfterValue if self.brackets.is_empty() => "nothing more after the value",
            State::AfterValue if self.brackets.in_object() => "`,` or `}`",
            State::AfterValue => "`,` or `]`",
            State::Text(_) => "the closing `\"` of a string",
            State::Escape(_) => "one of `\"`, `\\`, `/`, `b`, `f`, `n`, `r`, `t`, `u` after `\\`",
            State::Hex(..) => "four hexadecimal digits after `\\u`",
            State::Minus => "a digit after `-`",
            State::Zero => "no digit after a leading `0`",
            State::Point => "a digit after the decimal point",
            State::Exponent | State::ExponentSign => "a digit in the exponent",
            State::Integer | State::Fraction | State::ExponentDigits if self.brackets.in_object() => "`,` or `}`",
            State::Integer | State::Fraction | State::ExponentDigits => "`,` or `]`",
            State::Word(Word::True, _) => "`true`",
            State::Word(Word::False, _) => "`false`",
            State::Word(Word::Null, _) => "`null`",
            State::Word(Word::NaN | Word::Infinity | Word::MinusInfinity, _) => "a value",
        }
    }
}

/// So many bytes before `at`, which may be before the piece.
fn back_from(at: usize, bytes: u8) -> Place {
    let bytes = usize::from(bytes);
    match at.checked_sub(bytes) {
        Some(start) => Place::In(start),
        None => Place::Before(bytes - at),
    }
}

/// The first place from `at` on that is no digit, or the end.
#[inline]
fn digits(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && bytes[at].is_ascii_digit() {
        at += 1;
    }
    at
}
