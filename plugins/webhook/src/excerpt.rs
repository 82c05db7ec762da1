//! What of an answer's body is shown to operators, in logs and in the reasons of retries.

/// So many characters are shown.
const LONGEST: usize = 200;

/// The beginning of a body, on one line that can be shown anywhere. A receiver that shows its requests in its errors would show our secrets
/// too: where they stand as they were sent they are left out.
pub(crate) fn excerpt<'a>(body: &[u8], secrets: impl Iterator<Item = &'a str>) -> String {
    let text = secrets
        .filter(|secret| !secret.is_empty())
        .fold(String::from_utf8_lossy(body).into_owned(), |text, secret| text.replace(secret, "…"));
    let shown: String = text.chars().filter(|c| !is_invisible(*c)).collect();
    let words = shown.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(LONGEST).collect()
}

/// Marks that join, separate or turn around what is shown.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &[u8]) -> String {
        excerpt(body, ["hunter2", ""].into_iter())
    }

    #[test]
    fn is_one_short_line_that_can_be_shown() {
        assert_eq!(of(b""), "");
        assert_eq!(of(b" <h1>\r\n\tBad\0 \x1b[31m</h1>\n"), "<h1> Bad [31m</h1>");
        assert_eq!(of("a\u{2028}b\u{202e}c\u{85}d\u{feff}".as_bytes()), "a bc d");
        assert_eq!(of(b"\xff!"), "\u{fffd}!");
        assert_eq!(of("é".repeat(1_000).as_bytes()), "é".repeat(200));
    }

    #[test]
    fn has_none_of_what_was_sent_in_secret() {
        assert_eq!(of(br#"{"authorization": "hunter2"}"#), r#"{"authorization": "…"}"#);
    }
}
