//! What is text, and what is not.

use std::borrow::Cow;

const MARK: &[u8] = b"\xef\xbb\xbf";

/// The head as text, if it is UTF-8, or UTF-16 with its mark, and has no control characters. A character that the end of the head cuts is
/// no harm where the file goes on.
pub fn unicode(head: &[u8], is_whole: bool) -> Option<Cow<'_, str>> {
    let text = match head {
        [0xff, 0xfe, rest @ ..] => Cow::Owned(utf16(rest, is_whole, u16::from_le_bytes)?),
        [0xfe, 0xff, rest @ ..] => Cow::Owned(utf16(rest, is_whole, u16::from_be_bytes)?),
        head => Cow::Borrowed(utf8(head, is_whole)?),
    };
    text.bytes().all(is_of_text).then_some(text)
}

fn utf8(head: &[u8], is_whole: bool) -> Option<&str> {
    match std::str::from_utf8(head) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() && !is_whole => {
            std::str::from_utf8(&head[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    }
}

fn utf16(head: &[u8], is_whole: bool, unit: fn([u8; 2]) -> u16) -> Option<String> {
    let (pairs, rest) = head.as_chunks::<2>();
    if is_whole && !rest.is_empty() {
        return None;
    }
    let mut units: Vec<u16> = pairs.iter().map(|pair| unit(*pair)).collect();
    let is_cut = units.last().is_some_and(|unit| (0xd800..0xdc00).contains(unit));
    if is_cut && !is_whole {
        units.pop();
    }
    String::from_utf16(&units).ok()
}

/// Whether this is text in an older encoding, as far as can be told: it has no control characters.
pub fn is_other_text(head: &[u8]) -> bool {
    head.iter().copied().all(is_of_text)
}

/// Whether the first line names an interpreter. Rust's `#![…]` does not.
pub fn is_script(content: &[u8]) -> bool {
    content.strip_prefix(b"#!").is_some_and(|rest| rest.trim_ascii_start().starts_with(b"/"))
}

/// Whether readers would take this text for a PDF that begins with something else. One that merely speaks of the header has no objects.
pub fn holds_pdf(content: &[u8]) -> bool {
    let beginning = &content[..content.len().min(1024)];
    let begins = |line: &[u8]| matches!(line, [b'%', b'P', b'D', b'F', b'-', b'0'..=b'9', ..]);
    let objects = b" obj";
    beginning.split(|byte| matches!(byte, b'\n' | b'\r')).any(begins)
        && content.windows(objects.len()).any(|window| window == objects)
}

pub fn without_mark(content: &[u8]) -> &[u8] {
    content.strip_prefix(MARK).unwrap_or(content)
}

/// Whether text can have this byte: not the binary data bytes of the MIME Sniffing Standard.
fn is_of_text(byte: u8) -> bool {
    !matches!(byte, 0x00..=0x08 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f)
}
