//! What is text, and what is not.

const MARK: &[u8] = b"\xef\xbb\xbf";

/// The head as text, if it is UTF-8 without control characters. A character that the end of the head cuts is no harm where the file goes on.
pub fn utf8(head: &[u8], is_whole: bool) -> Option<&str> {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() && !is_whole => {
            std::str::from_utf8(&head[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    text.bytes().all(is_of_text).then_some(text)
}

/// Whether this is text in an older encoding, by the test of the MIME Sniffing Standard: it has no control characters, or
/// begins as UTF-16 does.
pub fn is_other_text(head: &[u8]) -> bool {
    head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") || head.iter().copied().all(is_of_text)
}

/// Whether the first line names an interpreter. Rust's `#![…]` does not.
pub fn is_script(content: &[u8]) -> bool {
    content.strip_prefix(b"#!").is_some_and(|rest| rest.trim_ascii_start().starts_with(b"/"))
}

pub fn without_mark(content: &[u8]) -> &[u8] {
    content.strip_prefix(MARK).unwrap_or(content)
}

/// Whether text can have this byte: not the binary data bytes of the MIME Sniffing Standard.
fn is_of_text(byte: u8) -> bool {
    !matches!(byte, 0x00..=0x08 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f)
}
