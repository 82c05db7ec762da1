//! The file as a layer: parsed with all its syntax errors at once, strings expanded, every key and value with its place.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use figment::value::{Dict, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::document::{Layer, Written};
use super::expand::Surroundings;
use crate::diagnostics::{Diagnostic, Diagnostics, KeyPath, Origin, Source, is_secret_name};

/// What was read of a file.
pub struct Read {
    pub layer: Layer,
    /// Values that were left out, for something was said about them.
    pub broken: Vec<KeyPath>,
    /// What was meant may be misread where the syntax is broken; so is then what seems to be missing.
    pub has_syntax_errors: bool,
}

/// Reads `text`, known to people as `name`.
pub fn read(
    name: &str,
    folder: &Path,
    text: &str,
    variables: &BTreeMap<String, String>,
    diagnostics: &mut Diagnostics,
) -> Read {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut source = Source::new(name, text);
    hide_secrets(table.get_ref(), &mut source);
    let source = Arc::new(source);
    let has_syntax_errors = !errors.is_empty();
    let (errors, is_swallowed) = syntax_errors(text, errors);
    for error in errors {
        let origin = Origin::File { source: Arc::clone(&source), span: error.span };
        diagnostics
            .push(Diagnostic { help: error.help, ..Diagnostic::error(KeyPath::default(), origin, error.message) });
    }
    let mut reader = Reader {
        source,
        surroundings: Surroundings { variables, folder },
        written: BTreeMap::new(),
        broken: Vec::new(),
        diagnostics,
    };
    let values = match is_swallowed {
        true => Dict::new(),
        false => reader.table(&KeyPath::default(), table.get_ref()),
    };
    Read { layer: Layer::from_parts("file", values, reader.written), broken: reader.broken, has_syntax_errors }
}

struct SyntaxError {
    span: Range<usize>,
    message: String,
    help: Option<String>,
}

/// The first error of each line: the others of it follow from that one. Also whether something that is not closed has
/// swallowed what stands behind it; then nothing that was parsed is what was meant. There parsing begins again at the line
/// that does not belong into it.
fn syntax_errors(text: &str, mut errors: Vec<toml::de::Error>) -> (Vec<SyntaxError>, bool) {
    let mut found: Vec<SyntaxError> = Vec::new();
    let mut is_swallowed = false;
    let mut begin = 0;
    loop {
        let last_line = line_start(text, text.trim_end().len());
        let has_swallowed =
            errors.iter().any(|error| is_unclosed(error) && start_of(error, text) >= text.trim_end().len());
        let swallowed_from = errors
            .iter()
            .map(|error| start_of(error, text))
            .filter(|start| has_swallowed && text[line_start(text, *start)..*start].trim().is_empty())
            .map(|start| line_start(text, start))
            .find(|line| (begin + 1..last_line + 1).contains(line));
        for error in &errors {
            let span = error.span().unwrap_or(text.len()..text.len());
            let line = line_start(text, span.start);
            let is_new = found.iter().all(|known| line_start(text, known.span.start) != line);
            if is_new && swallowed_from.is_none_or(|from| line < from) {
                found.push(SyntaxError { message: said(error, text), span, help: None });
            }
        }
        let Some(from) = swallowed_from else {
            return (found, is_swallowed);
        };
        is_swallowed = true;
        let last = last_not_blank(text, from);
        found.push(SyntaxError {
            span: last..last,
            message: "what was begun here or above is not closed before the next line".to_owned(),
            help: Some("close it with `]` or `}`".to_owned()),
        });
        begin = from;
        // As many bytes as before, so that every place stays what it is.
        let blank = " ".repeat(from) + &text[from..];
        errors = DeTable::parse_recoverable(&blank).1;
    }
}

fn said(error: &toml::de::Error, text: &str) -> String {
    let meant = error.span().and_then(|span| text.get(span)).unwrap_or_default();
    match error.message() {
        // The parser takes nothing at all for a text without quotes.
        message if message.starts_with("string values must be quoted") && meant.trim().is_empty() => {
            "there is no value behind the `=`".to_owned()
        }
        message => message.to_owned(),
    }
}

fn is_unclosed(error: &toml::de::Error) -> bool {
    error.message().starts_with("unclosed")
}

fn start_of(error: &toml::de::Error, text: &str) -> usize {
    error.span().map_or(text.len(), |span| span.start)
}

fn line_start(text: &str, at: usize) -> usize {
    text.get(..at).unwrap_or(text).rfind('\n').map_or(0, |newline| newline + 1)
}

/// Where the last character before `at` stands that is no white space.
fn last_not_blank(text: &str, at: usize) -> usize {
    text[..at].char_indices().rev().find(|(_, c)| !c.is_whitespace()).map_or(0, |(start, _)| start)
}

fn hide_secrets(table: &DeTable<'_>, source: &mut Source) {
    for (key, value) in table {
        match value.get_ref() {
            DeValue::Table(inner) => hide_secrets(inner, source),
            _ if is_secret_name(key.get_ref()) => source.hide(value.span()),
            DeValue::String(text) if has_password(text) => source.hide(value.span()),
            DeValue::Array(values) => {
                for value in values.iter() {
                    if let DeValue::Table(inner) = value.get_ref() {
                        hide_secrets(inner, source);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Whether it is a URL with a user in it.
fn has_password(text: &str) -> bool {
    let authority = text.split_once("://").and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
    authority.is_some_and(|authority| authority.contains('@'))
}

/// Turns what the parser gave into what figment takes.
struct Reader<'a> {
    source: Arc<Source>,
    surroundings: Surroundings<'a>,
    written: BTreeMap<KeyPath, Written>,
    broken: Vec<KeyPath>,
    diagnostics: &'a mut Diagnostics,
}

impl Reader<'_> {
    fn table(&mut self, path: &KeyPath, table: &DeTable<'_>) -> Dict {
        let mut dict = Dict::new();
        for (key, value) in table {
            let path = path.key(key.get_ref());
            if let Some(value) = self.value(&path, key.span(), value) {
                dict.insert(key.get_ref().to_string(), value);
            }
        }
        dict
    }

    fn value(&mut self, path: &KeyPath, key: Range<usize>, spanned: &Spanned<DeValue<'_>>) -> Option<Value> {
        let is_table = matches!(spanned.get_ref(), DeValue::Table(_));
        // A table's own span is its whole content; what is said about it belongs at its name.
        let value_span = if is_table { key.clone() } else { spanned.span() };
        let mut written =
            Written { key: self.origin(key), value: self.origin(value_span.clone()), untyped: false, secret: false };
        let value = match spanned.get_ref() {
            DeValue::Table(table) => Ok(Value::from(self.table(path, table))),
            DeValue::Array(values) => Ok(Value::from(self.array(path, values.iter()))),
            DeValue::String(text) => match self.surroundings.expand(text) {
                Ok(expanded) => {
                    written.untyped = expanded.filled;
                    written.secret = expanded.secret;
                    Ok(Value::from(expanded.text))
                }
                Err(error) => Err(error.to_string()),
            },
            DeValue::Boolean(value) => Ok(Value::from(*value)),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Ok(Value::from(number)),
                Err(_) => Err("the number is too large".to_owned()),
            },
            DeValue::Float(number) => match number.as_str().parse::<f64>() {
                Ok(number) => Ok(Value::from(number)),
                Err(_) => Err("the number cannot be read".to_owned()),
            },
            DeValue::Datetime(_) => Err("no option takes a date".to_owned()),
        };
        match value {
            Ok(value) => {
                self.written.insert(path.clone(), written);
                Some(value)
            }
            Err(message) => {
                self.diagnostics.push(Diagnostic::error(path.clone(), written.value, message));
                self.broken.push(path.clone());
                None
            }
        }
    }

    /// What cannot be read leaves an empty text, so that the places of the others stay what they are.
    fn array<'v, 'i: 'v>(
        &mut self,
        path: &KeyPath,
        values: impl Iterator<Item = &'v Spanned<DeValue<'i>>>,
    ) -> Vec<Value> {
        let read = |(index, value): (usize, &'v Spanned<DeValue<'i>>)| {
            self.value(&path.index(index), value.span(), value).unwrap_or_else(|| Value::from(""))
        };
        values.enumerate().map(read).collect()
    }

    fn origin(&self, span: Range<usize>) -> Origin {
        Origin::File { source: Arc::clone(&self.source), span }
    }
}

/// A text that may stand for something else, read as TOML: `true`, `5`, `["a", "b"]`. `None` if it is nothing but text.
pub fn reread(text: &str) -> Option<Value> {
    let (value, errors) = DeValue::parse_recoverable(text);
    if !errors.is_empty() {
        return None;
    }
    plain(value.get_ref())
}

fn plain(value: &DeValue<'_>) -> Option<Value> {
    Some(match value {
        DeValue::Boolean(value) => Value::from(*value),
        DeValue::Integer(number) => Value::from(i64::from_str_radix(number.as_str(), number.radix()).ok()?),
        DeValue::Float(number) => Value::from(number.as_str().parse::<f64>().ok()?),
        DeValue::String(text) => Value::from(text.to_string()),
        DeValue::Array(values) => {
            Value::from(values.iter().map(|value| plain(value.get_ref())).collect::<Option<Vec<_>>>()?)
        }
        DeValue::Table(table) => {
            let entry = |(key, value): (&Spanned<_>, &Spanned<_>)| {
                let key: &std::borrow::Cow<'_, str> = key.get_ref();
                Some((key.to_string(), plain(value.get_ref())?))
            };
            Value::from(table.iter().map(entry).collect::<Option<Dict>>()?)
        }
        DeValue::Datetime(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::document::Document;

    fn read_text(text: &str) -> (Document, Diagnostics) {
        let mut diagnostics = Diagnostics::default();
        let read = read("config.toml", Path::new("/"), text, &BTreeMap::new(), &mut diagnostics);
        (Document::of(vec![read.layer]), diagnostics)
    }

    #[test]
    fn every_value_keeps_its_place() {
        let text =
            "top = 1\n[a.b]\nlist = [\"x\",\n  { plugin = \"p\" }]\n[[a.c]]\nx = true\n[[a.c]]\nx = 0x10\nd.e = 1.5\n";
        let (document, diagnostics) = read_text(text);
        assert!(diagnostics.is_empty(), "{diagnostics}");
        let b = KeyPath::of(["a", "b"]);
        let c = KeyPath::of(["a", "c"]);
        for (path, expected) in [
            (KeyPath::of(["top"]), "config.toml:1:7"),
            (b.clone(), "config.toml:2:4"),
            (b.key("list").index(0), "config.toml:3:9"),
            (b.key("list").index(1).key("plugin"), "config.toml:4:14"),
            (c.index(0).key("x"), "config.toml:6:5"),
            (c.index(1).key("x"), "config.toml:8:5"),
            (c.index(1).key("d").key("e"), "config.toml:9:7"),
        ] {
            assert_eq!(document.origin_if_written(&path).to_string(), expected, "{path}");
        }
        assert_eq!(document.get(&c.index(1).key("x")).and_then(Value::to_i128), Some(16));
    }

    #[test]
    fn tells_several_syntax_errors_at_once() {
        let (_, diagnostics) = read_text("a = \nb = 1\nc = [1, 2\n[d]\ne = 'x\n");
        let lines: Vec<_> = diagnostics.iter().filter_map(|d| d.position().map(|(_, line, _)| line)).collect();
        assert!(lines.contains(&1) && lines.contains(&5), "{diagnostics}");
    }

    #[test]
    fn what_is_not_closed_does_not_hide_the_errors_behind_it() {
        let (_, diagnostics) =
            read_text("[a]\nlist = [\"x\",\n  \"y\"\nb = 1\nc = \n[d\ne = [1\nf = { x = 1\n[g]\nh = 'x\n");
        let lines: BTreeSet<_> = diagnostics.iter().filter_map(|d| d.position().map(|(_, line, _)| line)).collect();
        assert_eq!(lines, BTreeSet::from([3, 5, 6, 7, 8, 10]), "{diagnostics}");
    }

    #[test]
    fn whatever_stands_there_reading_comes_to_an_end() {
        for text in
            ["[", "a", "a=[", "a=[\n", "a={", "\n\n[a", "a=[\n[\n[\n{\n", "é=[\né\n", "a = \"\"\"\nb\n", "=\n=\n[[["]
        {
            let (_, diagnostics) = read_text(text);
            assert!(diagnostics.has_errors(), "{text:?}");
        }
    }

    #[test]
    fn text_is_read_again_where_a_value_is_meant() {
        assert_eq!(reread("5"), Some(Value::from(5)));
        assert_eq!(reread("true"), Some(Value::from(true)));
        assert_eq!(reread("[\"a\", \"b\"]"), Some(Value::from(vec!["a", "b"])));
        assert_eq!(reread("localhost:8000"), None);
    }
}
