//! What a file is by its first bytes.
//!
//! The order is the point. What is text all through is looked at as text, so that a `BM` or `GIF8` that begins a sentence tells nothing;
//! markup goes before all signatures, as no other format begins so; and signatures that stand at the beginning go before those that may
//! stand later.

mod markup;
mod signature;
mod text;

use crate::name::UNKNOWN;
use crate::named::TEXT;

/// As many bytes as are looked at. The furthest signature lies at 257 (tar); the rest is for text, and for the names of the first
/// files in an archive.
pub const HEAD: usize = 8 * 1024;

/// The type of a file that begins with `head`; `is_whole` if it ends there, too.
pub fn detect(head: &[u8], is_whole: bool) -> &'static str {
    if let Some(content) = text::unicode(head, is_whole) {
        return textual(content.as_bytes());
    }
    if let Some(name) = markup::detect(head).or_else(|| signature::detect(head)) {
        return name;
    }
    if text::is_other_text(head) { TEXT } else { UNKNOWN }
}

fn textual(content: &[u8]) -> &'static str {
    let begun = text::without_mark(content).trim_ascii_start();
    let starts = |start: &str| begun.starts_with(start.as_bytes());
    if starts("%PDF-") {
        "application/pdf"
    } else if starts("%!PS") {
        "application/postscript"
    } else if starts("{\\rtf") {
        "application/rtf"
    } else if starts("-----BEGIN ") {
        "application/x-pem-file"
    } else if text::is_script(content) {
        "text/x-shellscript"
    } else if let Some(name) = markup::detect(content) {
        name
    } else if text::holds_pdf(content) {
        "application/pdf"
    } else {
        TEXT
    }
}
