//! `Content-Disposition` of a multipart part: the field's name and the file's, as browsers, curl, Python and Dart
//! write them.

use percent_encoding::percent_decode;

/// Names as the client wrote them; nothing here says that they are fit for a path.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Disposition {
    pub name: Option<String>,
    pub file_name: Option<String>,
}

/// Fails where a name is not UTF-8, or is in a character set that nobody sends.
pub fn parse(value: &[u8]) -> Result<Disposition, &'static str> {
    let mut found = Disposition::default();
    let mut extended = None;
    let mut rest = match value.iter().position(|byte| *byte == b';') {
        Some(semicolon) => &value[semicolon + 1..],
        None => return Ok(found),
    };
    while let Some((key, content, after)) = next_parameter(rest) {
        if key.eq_ignore_ascii_case(b"name") {
            found.name = Some(text(content)?);
        } else if key.eq_ignore_ascii_case(b"filename") {
            found.file_name = Some(text(content)?);
        } else if key.eq_ignore_ascii_case(b"filename*") {
            extended = Some(extended_value(&content)?);
        }
        rest = after;
    }
    // RFC 6266: the extended form is the better one where both are there.
    found.file_name = extended.or(found.file_name);
    Ok(found)
}

fn text(content: Vec<u8>) -> Result<String, &'static str> {
    String::from_utf8(content).map_err(|_| "a name in the multipart body is not UTF-8")
}

/// `UTF-8'fr'%C3%A9t%C3%A9.json`
fn extended_value(content: &[u8]) -> Result<String, &'static str> {
    let mut pieces = content.splitn(3, |byte| *byte == b'\'');
    let charset = pieces.next().unwrap_or_default();
    let encoded = pieces.nth(1).ok_or("`filename*` must read UTF-8''name")?;
    let decoded: Vec<u8> = percent_decode(encoded).collect();
    if charset.eq_ignore_ascii_case(b"utf-8") {
        text(decoded)
    } else if charset.eq_ignore_ascii_case(b"iso-8859-1") {
        Ok(decoded.into_iter().map(char::from).collect())
    } else {
        Err("`filename*` must be in UTF-8")
    }
}

/// The next `key=value` or `key="value"`: key, value without its quoting, what follows.
fn next_parameter(input: &[u8]) -> Option<(&[u8], Vec<u8>, &[u8])> {
    let start = input.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b';'))?;
    let input = &input[start..];
    let end = input.iter().position(|byte| matches!(byte, b'=' | b';')).unwrap_or(input.len());
    let key = input[..end].trim_ascii();
    let Some(b'=') = input.get(end) else {
        return Some((key, Vec::new(), &input[end..]));
    };
    let value = input[end + 1..].trim_ascii_start();
    match value.split_first() {
        Some((b'"', quoted)) => {
            let (content, after) = unquote(quoted);
            Some((key, content, after))
        }
        _ => {
            let end = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
            Some((key, value[..end].trim_ascii().to_vec(), &value[end..]))
        }
    }
}

/// Only `\"` and `\\` are escapes: some clients send Windows paths in quotes, unescaped.
fn unquote(quoted: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut content = Vec::new();
    let mut at = 0;
    while at < quoted.len() {
        match (quoted[at], quoted.get(at + 1)) {
            (b'"', _) => return (content, &quoted[at + 1..]),
            (b'\\', Some(escaped @ (b'"' | b'\\'))) => {
                content.push(*escaped);
                at += 2;
            }
            (byte, _) => {
                content.push(byte);
                at += 1;
            }
        }
    }
    (content, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(value: &str) -> (Option<String>, Option<String>) {
        let found = parse(value.as_bytes()).unwrap();
        (found.name, found.file_name)
    }

    #[test]
    fn reads_what_clients_write() {
        let some = |text: &str| Some(text.to_owned());
        for (value, name, file_name) in [
            ("form-data; name=\"file\"; filename=\"été 1.json\"", some("file"), some("été 1.json")),
            ("form-data; name=chunk; filename=blob", some("chunk"), some("blob")),
            ("form-data; name=\"a;b\"; filename=\"a\\\"b.json\"", some("a;b"), some("a\"b.json")),
            ("form-data; name=\"f\"; filename*=UTF-8''%C3%A9t%C3%A9.json", some("f"), some("été.json")),
            ("form-data; filename*=utf-8'fr'%C3%A9; filename=\"e\"; name=\"f\"", some("f"), some("é")),
            ("form-data; name=\"f\"; filename*=iso-8859-1''%E9", some("f"), some("é")),
            ("form-data; name=\"f\"; filename=\"C:\\x\\y.json\"", some("f"), some("C:\\x\\y.json")),
            ("form-data; name=\"\"", some(""), None),
            ("form-data", None, None),
            ("form-data; name=\"open", some("open"), None),
            ("form-data; name; x=1;;", some(""), None),
        ] {
            assert_eq!(names(value), (name, file_name), "{value}");
        }
    }

    #[test]
    fn refuses_names_that_are_not_utf8() {
        assert!(parse(b"form-data; name=\"f\"; filename=\"\xe9\"").is_err());
        assert!(parse(b"form-data; name=\"f\"; filename*=UTF-8''%E9").is_err());
        assert!(parse(b"form-data; name=\"f\"; filename*=shift-jis''x").is_err());
    }
}
