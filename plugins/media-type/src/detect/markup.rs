//! HTML, SVG and XML, by the first element of the document.

use super::text::without_mark;

/// A document that begins with one of these is HTML in every browser. `<p>`, `<div>` and their like are not here, as Markdown
/// begins with them, too.
const OF_HTML: &[&str] = &["html", "head", "body", "script", "iframe", "style", "meta"];

pub fn detect(content: &[u8]) -> Option<&'static str> {
    let mut rest = without_mark(content).trim_ascii_start();
    let mut is_xml = false;
    loop {
        rest = if starts_with(rest, "<?xml") {
            is_xml = true;
            after(rest, b"?>")
        } else if rest.starts_with(b"<?") {
            after(rest, b"?>")
        } else if rest.starts_with(b"<!--") {
            after(rest, b"-->")
        } else if !is_xml && starts_with(rest, "<!doctype html") {
            return Some("text/html");
        } else if starts_with(rest, "<!doctype") {
            after_declaration(rest)
        } else {
            break;
        };
    }
    let element = element(rest);
    if element.eq_ignore_ascii_case(b"svg") {
        Some("image/svg+xml")
    } else if is_xml && element == b"html" {
        Some("application/xhtml+xml")
    } else if OF_HTML.iter().any(|name| element.eq_ignore_ascii_case(name.as_bytes())) {
        Some("text/html")
    } else {
        is_xml.then_some("application/xml")
    }
}

/// What follows the first `end`, and nothing where there is none.
fn after<'a>(content: &'a [u8], end: &[u8]) -> &'a [u8] {
    let at = content.windows(end.len()).position(|window| window == end);
    at.map_or(&[], |at| content[at + end.len()..].trim_ascii_start())
}

/// What follows a document type declaration, which may hold others in brackets.
fn after_declaration(content: &[u8]) -> &[u8] {
    let end = content.iter().position(|byte| matches!(byte, b'>' | b'[')).unwrap_or(content.len());
    if content.get(end) == Some(&b'[') { after(after_subset(&content[end..]), b">") } else { after(content, b">") }
}

/// What follows the declarations in brackets. A bracket in a literal, a comment or an instruction ends nothing.
fn after_subset(content: &[u8]) -> &[u8] {
    let mut rest = content;
    loop {
        rest = match rest {
            [] => return after(content, b"]"),
            [b']', rest @ ..] => return rest,
            [quote @ (b'"' | b'\''), literal @ ..] => after(literal, &[*quote]),
            rest if rest.starts_with(b"<!--") => after(rest, b"-->"),
            rest if rest.starts_with(b"<?") => after(rest, b"?>"),
            [_, rest @ ..] => rest,
        }
    }
}

/// The name of the element that begins here, without its namespace's prefix.
fn element(content: &[u8]) -> &[u8] {
    let Some(tag) = content.strip_prefix(b"<") else { return &[] };
    let end = tag.iter().position(|byte| byte.is_ascii_whitespace() || matches!(byte, b'>' | b'/'));
    let name = end.map_or(&[][..], |end| &tag[..end]);
    name.rsplit(|byte| *byte == b':').next().unwrap_or(name)
}

fn starts_with(content: &[u8], start: &str) -> bool {
    content.get(..start.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(start.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_element_says_what_it_is() {
        for (content, name) in [
            ("<!DOCTYPE html><p>", Some("text/html")),
            (" \n<HTML lang=fr>", Some("text/html")),
            ("<!-- a --><script>alert(1)</script>", Some("text/html")),
            ("<script/x>", Some("text/html")),
            ("\u{feff}<?xml version=\"1.0\"?><rss/>", Some("application/xml")),
            ("<?xml version=\"1.0\"?>\n<!DOCTYPE html PUBLIC \"x\">\n<html xmlns=\"\">", Some("application/xhtml+xml")),
            ("<?xml version=\"1.0\"?><?style a?><!-- b --><svg:svg>", Some("image/svg+xml")),
            ("<!DOCTYPE svg PUBLIC \"x\" [ <!ENTITY a \"b\"> ]><svg width=\"1\">", Some("image/svg+xml")),
            ("<svg onload=\"alert(1)\"/>", Some("image/svg+xml")),
            ("<!DOCTYPE x [<!ENTITY a ']>'>]><svg onload='1'/>", Some("image/svg+xml")),
            ("<!DOCTYPE x [<!-- it's ] --><?y ' ]?><!ENTITY a \"'\">] ><svg/>", Some("image/svg+xml")),
            ("<!DOCTYPE x [ it's ]><script>", Some("text/html")),
            ("<?x?><svg onload='1'/>", Some("image/svg+xml")),
            ("<?php $a > 1; ?>\n<html>", Some("text/html")),
            ("<?xml", Some("application/xml")),
        ] {
            assert_eq!(detect(content.as_bytes()), name, "{content}");
        }
    }

    #[test]
    fn what_markdown_begins_with_is_not_html() {
        for content in [
            "<p align=center>",
            "<!-- a comment -->\n# Title",
            "<div>",
            "<?php echo 1;",
            "<https://example.org>",
            "< 3",
            "",
            "<",
        ] {
            assert_eq!(detect(content.as_bytes()), None, "{content}");
        }
    }
}
