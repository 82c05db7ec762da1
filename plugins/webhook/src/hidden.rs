//! What is never shown, also where a receiver repeats it: the URL's path and query, where tokens often stand, and all secrets. Receivers
//! repeat them whole, in parts and decoded: `Cannot POST /hooks/T0P`, `Incorrect API key provided: sk-1`.

use std::collections::BTreeSet;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use reqwest::header::HeaderMap;

use crate::signature;

/// A shorter part gives little away, in characters, and would be found in every other word.
const SHORTEST_PART: usize = 6;

/// The texts that are looked for.
#[derive(Default)]
pub(crate) struct Hidden(BTreeSet<String>);

impl Hidden {
    pub(crate) fn of<'a>(url: &Url, headers: &HeaderMap, secrets: impl Iterator<Item = &'a str>) -> Self {
        let mut hidden = Self::default();
        hidden.place(url);
        for value in headers.values().filter_map(|value| value.to_str().ok()) {
            hidden.header(value);
        }
        for secret in secrets {
            hidden.whole(secret);
            hidden.part(secret);
            hidden.part(secret.trim_start_matches(signature::PREFIX));
        }
        hidden
    }

    fn place(&mut self, url: &Url) {
        let path = url.path();
        if path != "/" {
            self.whole(path);
        }
        path.split('/').for_each(|segment| self.part(segment));
        let Some(query) = url.query() else { return };
        self.whole(&format!("{path}?{query}"));
        self.whole(&format!("?{query}"));
        for pair in query.split('&') {
            // Without a value, the name is what says something.
            match pair.split_once('=') {
                Some((_, value)) if !value.is_empty() => self.part(value),
                _ => self.part(pair),
            }
        }
    }

    fn header(&mut self, value: &str) {
        self.whole(value);
        value.split_whitespace().for_each(|word| self.part(word));
        if let Some((user, password)) = basic(value) {
            self.whole(&format!("{user}:{password}"));
            self.part(&user);
            self.whole(&password);
            self.part(&password);
        }
    }

    /// However short it is.
    fn whole(&mut self, text: &str) {
        let spaces_for_pluses = text.replace('+', " ");
        let decoded = [text, &spaces_for_pluses].map(|text| percent_decode_str(text).decode_utf8_lossy().into_owned());
        self.0.extend([text.to_owned()].into_iter().chain(decoded).filter(|text| !text.trim().is_empty()));
    }

    /// Where it is long enough, and then also what is long enough between its signs, for a receiver may write these in a way of its own
    /// (`\/`, `&amp;`).
    fn part(&mut self, text: &str) {
        if !is_long_enough(text) {
            return;
        }
        self.whole(text);
        let is_sign = |c: char| !c.is_alphanumeric() && !matches!(c, '-' | '_');
        let decoded = percent_decode_str(text).decode_utf8_lossy();
        let between = [text, &decoded].into_iter().flat_map(|text| text.split(is_sign));
        self.0.extend(between.filter(|text| is_long_enough(text)).map(str::to_owned));
    }

    /// A text with `…` in place of what is hidden. Where it `is_cut`, its end may be the beginning of a secret, which goes too.
    pub(crate) fn leave_out(&self, text: &str, is_cut: bool) -> String {
        let found = |hidden: &String| {
            let length = hidden.len();
            text.match_indices(hidden.as_str()).map(move |(start, _)| start..start + length).collect::<Vec<_>>()
        };
        let mut spans: Vec<_> = self.0.iter().flat_map(found).collect();
        if is_cut {
            spans.extend(self.0.iter().filter_map(|hidden| begun_at_the_end(text, hidden)));
        }
        // They may overlap.
        spans.sort_unstable_by_key(|span| span.start);
        let (mut shown, mut done) = (String::with_capacity(text.len()), 0);
        for Range { start, end } in spans {
            if start >= done {
                shown.push_str(&text[done..start]);
                shown.push('…');
            }
            done = done.max(end);
        }
        shown.push_str(&text[done..]);
        shown
    }
}

fn is_long_enough(text: &str) -> bool {
    text.chars().nth(SHORTEST_PART - 1).is_some()
}

/// Where a text ends with the beginning of what is hidden.
fn begun_at_the_end(text: &str, hidden: &str) -> Option<Range<usize>> {
    let mut beginnings = hidden.char_indices().rev().map(|(end, _)| &hidden[..end]).filter(|begun| !begun.is_empty());
    let begun = beginnings.find(|begun| text.ends_with(begun))?;
    Some(text.len() - begun.len()..text.len())
}

/// User and password of an `Authorization: Basic …`.
fn basic(value: &str) -> Option<(String, String)> {
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers;

    fn hidden(url: &str, lines: &[&str], secrets: &[&str]) -> Hidden {
        let mut headers = HeaderMap::new();
        lines.iter().for_each(|line| headers::add(&mut headers, line).unwrap());
        Hidden::of(&url.parse().unwrap(), &headers, secrets.iter().copied())
    }

    fn assert_shown(hidden: &Hidden, cases: &[(&str, &str)]) {
        for (text, shown) in cases {
            assert_eq!(hidden.leave_out(text, false), *shown, "{text}");
        }
    }

    #[test]
    fn the_path_and_the_query_are_left_out_whole_and_in_parts() {
        let hidden = hidden("https://a.example/in/T0PSECRET?key=QUERYSECRET&a=1&WITHOUTVALUE", &[], &[]);
        assert_shown(
            &hidden,
            &[
                ("Cannot POST /in/T0PSECRET?key=QUERYSECRET&a=1&WITHOUTVALUE!", "Cannot POST …!"),
                ("no /in/T0PSECRET here", "no … here"),
                ("no handler for T0PSECRET", "no handler for …"),
                ("the key 'QUERYSECRET' is unknown", "the key '…' is unknown"),
                ("<a href='?key=QUERYSECRET&amp;a=1&amp;WITHOUTVALUE'>", "<a href='?key=…&amp;a=1&amp;…'>"),
                (r#"{"path":"\/in\/T0PSECRET"}"#, r#"{"path":"\/in\/…"}"#),
                ("short parts are in many words: in key 1", "short parts are in many words: in key 1"),
            ],
        );
    }

    #[test]
    fn a_short_path_is_left_out_as_a_whole_and_none_is_none() {
        assert_shown(&hidden("https://a.example/hook", &[], &[]), &[("no /hook: off the hook", "no …: off the hook")]);
        assert_shown(&hidden("https://a.example", &[], &[]), &[("</p> a.example", "</p> a.example")]);
        assert_shown(&hidden("https://a.example/?a=1", &[], &[]), &[("/?a=1 a=1", "… a=1")]);
    }

    #[test]
    fn what_is_percent_encoded_is_left_out_decoded_too() {
        let hidden = hidden("https://a.example/T%C3%B6P%20SECRET?key=QUERY%2FSEC%2BRET&b=two+words", &[], &[]);
        assert_shown(
            &hidden,
            &[
                ("/T%C3%B6P%20SECRET", "…"),
                ("no TöP SECRET", "no …"),
                ("key QUERY%2FSEC%2BRET", "key …"),
                ("key QUERY/SEC+RET", "key …"),
                ("b is two words", "b is …"),
            ],
        );
    }

    #[test]
    fn headers_are_left_out_whole_and_by_the_word() {
        let hidden = hidden("https://a.example", &["Authorization: Bearer sk-HUNTER2", "X-Pin: 4711"], &[]);
        assert_shown(
            &hidden,
            &[
                (r#"{"authorization": "Bearer sk-HUNTER2"}"#, r#"{"authorization": "…"}"#),
                ("Incorrect API key provided: sk-HUNTER2.", "Incorrect API key provided: …."),
                ("the pin 4711 is wrong", "the pin … is wrong"),
            ],
        );
    }

    #[test]
    fn what_is_between_signs_is_left_out_however_these_are_written() {
        let hidden = hidden("https://a.example", &["X-Key: name=abcdefgh/ijklmnop+qr=="], &[]);
        assert_shown(&hidden, &[("abcdefgh&#x2F;ijklmnop", "…&#x2F;…"), (r"abcdefgh\/ijklmnop+", r"…\/…+")]);
    }

    #[test]
    fn user_and_password_are_left_out() {
        let line = format!("Authorization: basic {}", STANDARD.encode("gateway:pass:w"));
        let hidden = hidden("https://a.example", &[&line], &[]);
        assert_shown(
            &hidden,
            &[
                (&line, "Authorization: …"),
                ("gateway:pass:w", "…"),
                ("gateway may not use pass:w", "… may not use …"),
                (&STANDARD.encode("gateway:pass:w"), "…"),
            ],
        );
        for line in ["Authorization: Basic ???", "Authorization: Basic", "Authorization: Basic /w=="] {
            assert_shown(&self::hidden("https://a.example", &[line], &[]), &[("user", "user")]);
        }
    }

    #[test]
    fn what_signs_is_left_out() {
        let hidden = hidden("https://a.example", &[], &["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]);
        assert_shown(
            &hidden,
            &[
                ("signed with whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw?", "signed with …?"),
                ("signed with MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw?", "signed with …?"),
            ],
        );
    }

    #[test]
    fn of_secrets_that_overlap_nothing_stays() {
        let hidden = hidden("https://a.example", &["X-A: abcdefghi", "X-B: ghijklm", "X-C: defg"], &[]);
        assert_shown(&hidden, &[("1 abcdefghijklm 2", "1 … 2"), ("abcdefghi defg", "… …")]);
    }

    #[test]
    fn at_the_end_of_what_was_cut_the_beginning_of_a_secret_is_left_out() {
        let hidden = hidden("https://a.example/hooks/T0PSECRET", &["X-A: Bearer sk-HUNTER2"], &[]);
        for (text, shown) in [
            ("POST /hooks/T0PSECRE", "POST …"),
            ("POST /hoo", "POST …"),
            ("key: sk-HUN", "key: …"),
            ("key: Bearer sk", "key: …"),
            ("key: sk-HUNTER2", "key: …"),
            ("sk-HUN and more", "sk-HUN and more"),
            ("", ""),
        ] {
            assert_eq!(hidden.leave_out(text, true), shown);
        }
        assert_eq!(hidden.leave_out("it is whole/", false), "it is whole/");
    }
}
