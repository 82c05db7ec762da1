//! What of an answer's body is shown to operators, in logs and in the reasons of retries.

use crate::hidden::Hidden;

/// So many characters are shown.
const LONGEST: usize = 200;

/// The beginning of a body, on one line that can be shown anywhere. `is_cut` says that the body goes on. Secrets are left out before
/// anything is cut or dropped here: what is left of one would not be recognised.
pub(crate) fn excerpt(body: &[u8], is_cut: bool, hidden: &Hidden) -> String {
    let text = String::from_utf8_lossy(body);
    // A letter that is cut is no letter of a secret's beginning.
    let text = if is_cut { text.trim_end_matches(char::REPLACEMENT_CHARACTER) } else { &text };
    let shown: String = hidden.leave_out(text, is_cut).chars().filter(|c| !is_invisible(*c)).collect();
    let words = shown.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(LONGEST).collect()
}

/// Marks that join, separate or turn around what is shown.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;

    use super::*;
    use crate::headers;

    fn excerpt_of(body: &[u8], is_cut: bool) -> String {
        let mut headers = HeaderMap::new();
        headers::add(&mut headers, "Authorization: Bearer sk-HUNTER2").unwrap();
        let url = "https://a.example/hooks/T0P%C3%A9SECRET".parse().unwrap();
        excerpt(body, is_cut, &Hidden::of(&url, &headers, [].into_iter()))
    }

    fn of(body: &[u8]) -> String {
        excerpt_of(body, false)
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
        assert_eq!(of(br#"{"authorization": "Bearer sk-HUNTER2"}"#), r#"{"authorization": "…"}"#);
        assert_eq!(of(b"Cannot POST\n/hooks/T0P%C3%A9SECRET"), "Cannot POST …");
    }

    #[test]
    fn has_no_part_of_a_secret_where_it_or_the_body_ends() {
        let ends_within = format!("{}sk-HUNTER2 and more", "x".repeat(LONGEST - 3));
        assert_eq!(of(ends_within.as_bytes()), format!("{}… a", "x".repeat(LONGEST - 3)));
        assert_eq!(excerpt_of(b"wrong key: sk-HUNT", true), "wrong key: …");
        assert_eq!(excerpt_of("Cannot POST /hooks/T0Pé".as_bytes(), true), "Cannot POST …");
        // Within the é.
        assert_eq!(excerpt_of(b"Cannot POST /hooks/T0P\xc3", true), "Cannot POST …");
    }
}
