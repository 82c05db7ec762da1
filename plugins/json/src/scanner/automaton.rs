//! The grammar of RFC 8259 as an automaton: a state for each place in it, and the stack of open brackets.
//!
//! It sees bytes and takes UTF-8 for granted; where a byte is in the document is for its caller to say.

use super::brackets::Brackets;
use super::error::SyntaxErrorKind;
use super::skip;
use super::text::Place;

#[derive(Debug, Clone)]
pub(super) struct Automaton {
    state: State,
    brackets: Brackets,
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

    fn rest(self, matched: u8) -> &'static [u8] {
        &self.text().as_bytes()[usize::from(matched)..]
    }

    fn is_json(self) -> bool {
        matches!(self, Word::True | Word::False | Word::Null)
    }
}

/// What is wrong, and where. A place before the piece is in the same line, in ASCII.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: SyntaxErrorKind,
    pub(super) at: Place,
}

/// A piece, and how far it was read.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline(always)]
    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// The next byte that is no white space.
    #[inline(always)]
    fn next_token(&mut self) -> Option<u8> {
        self.at = skip::white_space(self.bytes, self.at);
        self.next()
    }

    #[inline(always)]
    fn skip_digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }

    #[inline(always)]
    fn skip_plain_text(&mut self) {
        self.at = skip::plain_text(self.bytes, self.at);
    }

    /// Whether this byte is next; if so, it is read.
    #[inline(always)]
    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// Whether these bytes are next, whole; if so, they are read.
    #[inline(always)]
    fn take_all(&mut self, bytes: &[u8]) -> bool {
        let are_next = self.bytes[self.at..].starts_with(bytes);
        self.at += if are_next { bytes.len() } else { 0 };
        are_next
    }

    /// Reads the byte that was looked at.
    #[inline(always)]
    fn past(&mut self, state: State) -> State {
        self.at += 1;
        state
    }

    /// The place of the byte that was read last.
    fn last(&self) -> Place {
        Place::In(self.at - 1)
    }

    /// The place so many bytes before the next, which may be before the piece.
    fn back(&self, bytes: u8) -> Place {
        let bytes = usize::from(bytes);
        match self.at.checked_sub(bytes) {
            Some(start) => Place::In(start),
            None => Place::Before(bytes - self.at),
        }
    }
}

impl Automaton {
    pub(super) fn new(max_depth: usize) -> Self {
        Self { state: State::Value, brackets: Brackets::new(max_depth) }
    }

    /// Takes a piece. The state is enough to go on from, wherever it ends.
    ///
    /// Each turn takes a token, or what there is of one. The states that most bytes pass through stand here and not in
    /// methods: so the compiler jumps from one to the next without asking for the state again. Methods that answer with
    /// the next state were tried, and cost a third of the speed.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let mut cursor = Cursor { bytes, at: 0 };
        let mut state = self.state;
        loop {
            state = match state {
                State::Value | State::NextElement | State::FirstElement => {
                    let Some(byte) = cursor.next_token() else { break };
                    match byte {
                        b'"' => State::Text(Role::Value),
                        b'{' => self.open(true, &cursor)?,
                        b'[' => self.open(false, &cursor)?,
                        b'1'..=b'9' => State::Integer,
                        b'0' => State::Zero,
                        b'-' => State::Minus,
                        b't' => State::Word(Word::True, 1),
                        b'f' => State::Word(Word::False, 1),
                        b'n' => State::Word(Word::Null, 1),
                        b'N' => State::Word(Word::NaN, 1),
                        b'I' => State::Word(Word::Infinity, 1),
                        b']' if state == State::FirstElement => self.close(),
                        _ => return Err(self.unexpected(state, byte, &cursor)),
                    }
                }
                State::AfterValue => {
                    let Some(byte) = cursor.next_token() else { break };
                    let in_object = self.brackets.in_object();
                    match byte {
                        b',' if in_object => State::NextKey,
                        b'}' if in_object => self.close(),
                        b',' if !self.brackets.is_empty() => State::NextElement,
                        b']' if !in_object && !self.brackets.is_empty() => self.close(),
                        _ => return Err(self.unexpected(state, byte, &cursor)),
                    }
                }
                State::FirstKey | State::NextKey => {
                    let Some(byte) = cursor.next_token() else { break };
                    match byte {
                        b'"' => State::Text(Role::Key),
                        b'}' if state == State::FirstKey => self.close(),
                        _ => return Err(self.unexpected(state, byte, &cursor)),
                    }
                }
                State::Colon => {
                    let Some(byte) = cursor.next_token() else { break };
                    if byte != b':' {
                        return Err(self.unexpected(state, byte, &cursor));
                    }
                    State::Value
                }
                State::Text(role) => {
                    cursor.skip_plain_text();
                    let Some(byte) = cursor.next() else { break };
                    match (byte, role) {
                        // Nearly always the colon is right there.
                        (b'"', Role::Key) if cursor.take(b':') => State::Value,
                        (b'"', Role::Key) => State::Colon,
                        (b'"', Role::Value) => State::AfterValue,
                        (b'\\', _) => State::Escape(role),
                        _ => return Err(Failure { kind: SyntaxErrorKind::ControlCharacter(byte), at: cursor.last() }),
                    }
                }
                State::Zero | State::Integer | State::Fraction | State::ExponentDigits => {
                    if state != State::Zero {
                        cursor.skip_digits();
                    }
                    let Some(byte) = cursor.peek() else { break };
                    match (state, byte) {
                        (State::Zero | State::Integer, b'.') => cursor.past(State::Point),
                        (State::Zero | State::Integer | State::Fraction, b'e' | b'E') => cursor.past(State::Exponent),
                        (State::Zero, b'0'..=b'9') => return Err(leading_zero(byte, &cursor)),
                        _ => State::AfterValue,
                    }
                }
                State::Minus | State::Point | State::Exponent | State::ExponentSign => {
                    let Some(byte) = cursor.next() else { break };
                    match (state, byte) {
                        (State::Minus, b'0') => State::Zero,
                        (State::Minus, b'1'..=b'9') => State::Integer,
                        (State::Minus, b'I') => State::Word(Word::MinusInfinity, 2),
                        (State::Point, b'0'..=b'9') => State::Fraction,
                        (State::Exponent, b'+' | b'-') => State::ExponentSign,
                        (State::Exponent | State::ExponentSign, b'0'..=b'9') => State::ExponentDigits,
                        _ => return Err(self.unexpected(state, byte, &cursor)),
                    }
                }
                State::Escape(_) | State::Hex(..) => {
                    let Some(byte) = cursor.next() else { break };
                    self.escape(state, byte, &cursor)?
                }
                State::Word(word, matched) if word.is_json() && cursor.take_all(word.rest(matched)) => {
                    State::AfterValue
                }
                State::Word(word, matched) => {
                    let Some(byte) = cursor.next() else { break };
                    self.word(word, matched, byte, &cursor)?
                }
            }
        }
        self.state = state;
        Ok(())
    }

    /// Whether the document may end here.
    pub(super) fn finish(&self) -> Result<(), Failure> {
        let kind = match self.state {
            State::AfterValue | State::Zero | State::Integer | State::Fraction | State::ExponentDigits
                if self.brackets.is_empty() =>
            {
                return Ok(());
            }
            State::Value if self.brackets.is_empty() => SyntaxErrorKind::Empty,
            State::Word(word, matched) if !word.is_json() => {
                return Err(not_a_word(word, Place::Before(usize::from(matched))));
            }
            state => SyntaxErrorKind::UnexpectedEnd { expected: self.expected(state) },
        };
        Err(Failure { kind, at: Place::In(0) })
    }

    /// The bytes of an escape after its `\\`.
    fn escape(&self, state: State, byte: u8, cursor: &Cursor<'_>) -> Result<State, Failure> {
        match (state, byte) {
            (State::Escape(role), b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(State::Text(role)),
            (State::Escape(role), b'u') => Ok(State::Hex(role, 4)),
            (State::Hex(role, 1), _) if byte.is_ascii_hexdigit() => Ok(State::Text(role)),
            (State::Hex(role, left), _) if byte.is_ascii_hexdigit() => Ok(State::Hex(role, left - 1)),
            _ => Err(self.unexpected(state, byte, cursor)),
        }
    }

    /// The letters of a word after its first.
    fn word(&self, word: Word, matched: u8, byte: u8, cursor: &Cursor<'_>) -> Result<State, Failure> {
        let text = word.text().as_bytes();
        if text[usize::from(matched)] != byte {
            return Err(if word.is_json() {
                self.unexpected(State::Word(word, matched), byte, cursor)
            } else {
                not_a_word(word, cursor.back(matched + 1))
            });
        }
        let matched = matched + 1;
        if usize::from(matched) < text.len() {
            Ok(State::Word(word, matched))
        } else if word.is_json() {
            Ok(State::AfterValue)
        } else {
            Err(Failure { kind: SyntaxErrorKind::NotANumber(word.text()), at: cursor.back(matched) })
        }
    }

    fn open(&mut self, object: bool, cursor: &Cursor<'_>) -> Result<State, Failure> {
        if !self.brackets.open(object) {
            let kind = SyntaxErrorKind::TooDeep { max_depth: self.brackets.max_depth() };
            return Err(Failure { kind, at: cursor.last() });
        }
        Ok(if object { State::FirstKey } else { State::FirstElement })
    }

    fn close(&mut self) -> State {
        self.brackets.close();
        State::AfterValue
    }

    /// The byte that was read last does not belong there.
    #[cold]
    fn unexpected(&self, state: State, found: u8, cursor: &Cursor<'_>) -> Failure {
        let expected = self.expected(state);
        Failure { kind: SyntaxErrorKind::UnexpectedByte { expected, found }, at: cursor.last() }
    }

    /// What could have stood there, in words.
    fn expected(&self, state: State) -> &'static str {
        match state {
            State::Value => "a value",
            State::NextElement => "a value after the comma",
            State::FirstElement => "a value or `]`",
            State::FirstKey => "a key in double quotes or `}`",
            State::NextKey => "a key in double quotes after the comma",
            State::Colon => "`:` after the key",
            State::Text(_) => "the closing `\"` of a string",
            State::Escape(_) => "one of `\"`, `\\`, `/`, `b`, `f`, `n`, `r`, `t`, `u` after `\\`",
            State::Hex(..) => "four hexadecimal digits after `\\u`",
            State::Minus => "a digit after `-`",
            State::Point => "a digit after the decimal point",
            State::Exponent | State::ExponentSign => "a digit in the exponent",
            State::Word(Word::True, _) => "`true`",
            State::Word(Word::False, _) => "`false`",
            State::Word(Word::Null, _) => "`null`",
            State::Word(Word::NaN | Word::Infinity | Word::MinusInfinity, _) => "a value",
            State::AfterValue | State::Zero | State::Integer | State::Fraction | State::ExponentDigits => {
                if self.brackets.is_empty() {
                    "nothing more after the value"
                } else if self.brackets.in_object() {
                    "`,` or `}`"
                } else {
                    "`,` or `]`"
                }
            }
        }
    }
}

fn leading_zero(found: u8, cursor: &Cursor<'_>) -> Failure {
    let expected = "no digit after a leading `0`";
    Failure { kind: SyntaxErrorKind::UnexpectedByte { expected, found }, at: Place::In(cursor.at) }
}

/// `N`, `I` or `-I` began no word that anybody writes, so the letter is what was wrong.
fn not_a_word(word: Word, begins: Place) -> Failure {
    let (expected, found, at) = match word {
        Word::MinusInfinity => ("a digit after `-`", b'I', begins.next()),
        _ => ("a value", word.text().as_bytes()[0], begins),
    };
    Failure { kind: SyntaxErrorKind::UnexpectedByte { expected, found }, at }
}
