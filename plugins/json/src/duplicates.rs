//! Keys that stand twice in one object, found in a text that the scanner has found well-formed so far. The grammar has nothing against
//! them, and readers differ on which one counts: that is what makes them a way past a check.
//!
//! Of the keys of objects that are still open, a hash is kept, and no more: keys of any length, in memory that `max_keys` bounds.

use std::collections::HashSet;
use std::hash::{BuildHasher, DefaultHasher, Hasher, RandomState};

/// How much of a key is kept to name it.
const SHOWN: usize = 80;

/// What is wrong with the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyError {
    /// Where the second one begins: line and column from 1, the column in characters.
    Duplicate { key: String, line: u64, column: u64 },
    /// More keys in open objects than may be remembered.
    TooMany,
}

/// Looks at a document that comes in pieces.
pub struct Keys {
    open: Vec<Container>,
    state: State,
    key: Option<Key>,
    line: u64,
    column: u64,
    remembered: usize,
    max_keys: usize,
    random: RandomState,
}

enum Container {
    Array,
    Object { keys: HashSet<u64>, expects_key: bool },
}

#[derive(Clone, Copy)]
enum State {
    Outside,
    String,
    Escape,
    /// So many of the four hexadecimal digits of an escape `\u` have come, with this value.
    Unicode(u8, u16),
}

/// The key that is being read, without its escapes: `"a"` and `"\u0061"` are the same.
struct Key {
    hasher: DefaultHasher,
    shown: Vec<u8>,
    line: u64,
    column: u64,
    /// The first half of a surrogate pair, whose second may follow.
    high: Option<u16>,
}

impl Keys {
    pub fn new(max_keys: usize) -> Self {
        Self {
            open: Vec::new(),
            state: State::Outside,
            key: None,
            line: 1,
            column: 1,
            remembered: 0,
            max_keys,
            random: RandomState::new(),
        }
    }

    /// The next piece of the text.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), KeyError> {
        for &byte in piece {
            self.take(byte)?;
            match byte {
                b'\n' => (self.line, self.column) = (self.line + 1, 1),
                // The later bytes of a character.
                0x80..=0xBF => {}
                _ => self.column += 1,
            }
        }
        Ok(())
    }

    fn take(&mut self, byte: u8) -> Result<(), KeyError> {
        match (self.state, byte) {
            (State::Outside, _) => self.take_outside(byte),
            (State::String, b'"') => {
                self.state = State::Outside;
                if let Some(key) = self.key.take() {
                    return self.remember(key);
                }
            }
            (State::String, b'\\') => self.state = State::Escape,
            (State::String, _) => self.add(|key| key.add_byte(byte)),
            (State::Escape, b'u') => self.state = State::Unicode(0, 0),
            (State::Escape, _) => {
                self.state = State::String;
                let meant = match byte {
                    b'b' => 0x08,
                    b'f' => 0x0C,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    itself => itself,
                };
                self.add(|key| key.add_byte(meant));
            }
            (State::Unicode(digits, value), _) => {
                let digit = char::from(byte).to_digit(16).unwrap_or(0) as u16;
                let value = value << 4 | digit;
                self.state = if digits == 3 { State::String } else { State::Unicode(digits + 1, value) };
                if digits == 3 {
                    self.add(|key| key.add_unit(value));
                }
            }
        }
        Ok(())
    }

    fn take_outside(&mut self, byte: u8) {
        match byte {
            b'{' => self.open.push(Container::Object { keys: HashSet::new(), expects_key: true }),
            b'[' => self.open.push(Container::Array),
            b'}' | b']' => {
                if let Some(Container::Object { keys, .. }) = self.open.pop() {
                    self.remembered -= keys.len();
                }
            }
            b',' => {
                if let Some(Container::Object { expects_key, .. }) = self.open.last_mut() {
                    *expects_key = true;
                }
            }
            b'"' => {
                self.state = State::String;
                if let Some(Container::Object { expects_key, .. }) = self.open.last_mut()
                    && std::mem::take(expects_key)
                {
                    let (hasher, shown) = (self.random.build_hasher(), Vec::new());
                    self.key = Some(Key { hasher, shown, line: self.line, column: self.column, high: None });
                }
            }
            _ => {}
        }
    }

    fn add(&mut self, add: impl FnOnce(&mut Key)) {
        if let Some(key) = &mut self.key {
            add(key);
        }
    }

    fn remember(&mut self, mut key: Key) -> Result<(), KeyError> {
        key.end_pair();
        let Some(Container::Object { keys, .. }) = self.open.last_mut() else { return Ok(()) };
        if !keys.insert(key.hasher.finish()) {
            let mut text = String::from_utf8_lossy(&key.shown).into_owned();
            if key.shown.len() >= SHOWN {
                text = format!("{}…", text.trim_end_matches(char::REPLACEMENT_CHARACTER));
            }
            return Err(KeyError::Duplicate { key: text, line: key.line, column: key.column });
        }
        self.remembered += 1;
        if self.remembered > self.max_keys { Err(KeyError::TooMany) } else { Ok(()) }
    }
}

impl Key {
    fn add_byte(&mut self, byte: u8) {
        self.end_pair();
        self.put(&[byte]);
    }

    /// A UTF-16 code unit. Halves of a pair make one character; one that stays alone counts as three bytes, as if UTF-8 had it.
    fn add_unit(&mut self, unit: u16) {
        match (self.high.take(), unit) {
            (Some(high), 0xDC00..=0xDFFF) => {
                let code = 0x10000 + ((u32::from(high) - 0xD800) << 10) + (u32::from(unit) - 0xDC00);
                self.put_code(code);
            }
            (before, 0xD800..=0xDBFF) => {
                self.high = before;
                self.end_pair();
                self.high = Some(unit);
            }
            (before, _) => {
                self.high = before;
                self.end_pair();
                self.put_code(u32::from(unit));
            }
        }
    }

    fn end_pair(&mut self) {
        if let Some(high) = self.high.take() {
            self.put_code(u32::from(high));
        }
    }

    fn put_code(&mut self, code: u32) {
        match char::from_u32(code) {
            Some(character) => self.put(character.encode_utf8(&mut [0; 4]).as_bytes()),
            None => self.put(&[0xE0 | (code >> 12) as u8, 0x80 | (code >> 6 & 0x3F) as u8, 0x80 | (code & 0x3F) as u8]),
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.hasher.write_u8(byte);
            if self.shown.len() < SHOWN {
                self.shown.push(byte);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found_in(text: &str, piece: usize, max_keys: usize) -> Result<(), KeyError> {
        let mut keys = Keys::new(max_keys);
        text.as_bytes().chunks(piece).try_for_each(|piece| keys.push(piece))
    }

    #[test]
    fn finds_the_second_of_one_object_in_pieces_of_any_size() {
        for (text, key, line, column) in [
            (r#"{"a": 1, "a": 2}"#, "a", 1, 10),
            ("{\"é\": 1,\n \"ü\": \"}\", \"é\": 2}", "é", 2, 12),
            (r#"{"a": 1, "\u0061": 2}"#, "a", 1, 10),
            (r#"{"😀": 1, "\ud83d\ude00": 2}"#, "😀", 1, 10),
            (r#"{"\ud83d": 1, "\ud83d": 2}"#, "\u{FFFD}\u{FFFD}\u{FFFD}", 1, 15),
            (r#"{"a\n": 1, "a\u000A": 2}"#, "a\n", 1, 12),
            (r#"{"a": {"b": [1, {"c": 1, "c": 2}]}}"#, "c", 1, 26),
            (r#"{"x": {"a": 1}, "a": {}, "x": 3}"#, "x", 1, 26),
            (r#"[{"": 1, "": 2}]"#, "", 1, 10),
        ] {
            for piece in 1..=text.len() {
                let found = found_in(text, piece, 100);
                assert_eq!(found, Err(KeyError::Duplicate { key: key.to_owned(), line, column }), "{text} by {piece}");
            }
        }
    }

    #[test]
    fn leaves_alone_what_is_not_twice_in_one_object() {
        for text in [
            r#"{"a": {"a": {"a": "a"}}, "b": "a"}"#,
            r#"[{"a": 1}, {"a": 2}, ["a", "a"], "a", "a"]"#,
            r#"{"a": 1, "A": 2, "a ": 3, "\ud83d": 4, "\ude00": 5, "\\": 6, "\"": 7, "\u00e9": 8, "e": 9}"#,
            r#"{"a": ["{\"a\"", "a\\"], "b": {}}"#,
            "\"a\"",
        ] {
            for piece in 1..=text.len() {
                assert_eq!(found_in(text, piece, 100), Ok(()), "{text}");
            }
        }
    }

    #[test]
    fn remembers_the_keys_of_open_objects_alone() {
        let closed = format!("[{}{{}}]", r#"{"a": 1, "b": 2},"#.repeat(1_000));
        assert_eq!(found_in(&closed, 7, 2), Ok(()));
        assert_eq!(found_in(r#"{"a": {"b": {"c": 1}}}"#, 7, 2), Err(KeyError::TooMany));
    }

    #[test]
    fn a_long_key_is_named_by_its_beginning() {
        let long = "é".repeat(500);
        let found = found_in(&format!(r#"{{"{long}": 1, "{long}": 2}}"#), 64, 100);
        let Err(KeyError::Duplicate { key, .. }) = found else { panic!("{found:?}") };
        assert_eq!(key, format!("{}…", "é".repeat(40)));
    }
}
