//! The request headers that an operator adds, as `Authorization`. Their values are secrets.

use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};

/// What is set here already, or belongs to the connection.
const RESERVED: [HeaderName; 13] = [
    header::ACCEPT_ENCODING,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::EXPECT,
    header::HOST,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::USER_AGENT,
];

/// One `Name: value`. What is wrong is said without the value, and of the name only what it may not be.
fn parse(line: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = line.split_once(':').ok_or("has no colon; `Name: value` is expected")?;
    let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| "has no header's name before its colon")?;
    if RESERVED.contains(&name) || name.as_str().starts_with("webhook-") {
        return Err(format!("sets `{name}`, which is set already; leave it out"));
    }
    let mut value = Some(value.trim())
        .filter(|value| value.is_ascii())
        .and_then(|value| HeaderValue::from_str(value).ok())
        .ok_or_else(|| {
            format!("has a value for `{name}` that no header can hold: letters, digits and signs of ASCII can")
        })?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// A name that stands twice is a mistake: a receiver reads one of the two.
pub(crate) fn add(headers: &mut HeaderMap, line: &str) -> Result<(), String> {
    let (name, value) = parse(line)?;
    match headers.insert(&name, value) {
        None => Ok(()),
        Some(_) => Err(format!("sets `{name}` a second time")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_names_and_values() {
        let mut headers = HeaderMap::new();
        add(&mut headers, "Authorization: Bearer a:b c").unwrap();
        add(&mut headers, "X-Empty:").unwrap();
        assert_eq!(headers["authorization"], "Bearer a:b c");
        assert!(!format!("{headers:?}").contains("Bearer"), "{headers:?}");
        assert_eq!(headers["x-empty"], "");
        assert!(add(&mut headers, "authorization: other").unwrap_err().contains("a second time"));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_value() {
        for (line, said) in [
            ("hunter2", "no colon"),
            ("hunter2 b: c", "no header's name"),
            (": hunter2", "no header's name"),
            ("Host: hunter2", "`host`"),
            ("CONTENT-TYPE: hunter2", "`content-type`"),
            ("Transfer-Encoding: hunter2", "`transfer-encoding`"),
            ("Webhook-Signature: hunter2", "`webhook-signature`"),
            ("X-A: hunter2\r\nX-B: c", "`x-a`"),
            ("X-A: hunter2\u{e9}", "`x-a`"),
        ] {
            let message = add(&mut HeaderMap::new(), line).unwrap_err();
            assert!(message.contains(said) && !message.contains("hunter2"), "{line}: {message}");
        }
    }
}
