//! The effective configuration, each value with where it came from; secrets stay hidden.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::Config;
use super::document::Document;
use crate::diagnostics::{KeyPath, Origin, is_secret_name};

impl Config {
    /// As TOML, with a comment after each value.
    pub fn show(&self) -> String {
        let mut lines = Vec::new();
        table(&self.document, &KeyPath::default(), &self.effective(), &mut lines);
        let width = lines.iter().filter(|line| line.origin.is_some()).map(|line| line.text.chars().count()).max();
        let width = width.unwrap_or_default().min(60);
        let mut shown = String::new();
        for Line { text, origin } in lines {
            // Writing to a string does not fail.
            let _ = match origin {
                Some(origin) => writeln!(shown, "{text:width$}  # {origin}"),
                None => writeln!(shown, "{text}"),
            };
        }
        shown
    }

    /// As JSON: a list of `key`, `value` and `origin`.
    pub fn show_json(&self) -> Value {
        let mut entries = Vec::new();
        list(&self.document, &KeyPath::default(), &self.effective(), &mut entries);
        Value::Array(entries)
    }

    fn effective(&self) -> Map<String, Value> {
        match serde_json::to_value(&self.sections) {
            Ok(Value::Object(sections)) => sections,
            // Sections are tables of texts, numbers and lists: there is nothing in them that JSON cannot hold.
            _ => Map::new(),
        }
    }
}

struct Line {
    text: String,
    origin: Option<Origin>,
}

/// A table's own values first, then the tables in it, as TOML wants it.
fn table(document: &Document, path: &KeyPath, values: &Map<String, Value>, lines: &mut Vec<Line>) {
    let (tables, own): (Vec<_>, Vec<_>) = values.iter().partition(|(_, value)| value.is_object());
    if !path.steps().is_empty() && (!own.is_empty() || tables.is_empty()) {
        lines.push(Line { text: String::new(), origin: None });
        lines.push(Line { text: format!("[{path}]"), origin: None });
    }
    for (key, value) in own {
        let path = path.key(key);
        let text = format!("{} = {}", KeyPath::of([key.as_str()]), inline(&visible(document, &path, value)));
        lines.push(Line { text, origin: Some(document.origin_if_written(&path)) });
    }
    for (key, value) in tables {
        if let Value::Object(inner) = value {
            table(document, &path.key(key), inner, lines);
        }
    }
}

fn list(document: &Document, path: &KeyPath, values: &Map<String, Value>, entries: &mut Vec<Value>) {
    for (key, value) in values {
        let path = path.key(key);
        match value {
            Value::Object(inner) => list(document, &path, inner, entries),
            value => entries.push(json!({
                "key": path.to_string(),
                "value": visible(document, &path, value),
                "origin": document.origin_if_written(&path).to_string(),
            })),
        }
    }
}

fn visible(document: &Document, path: &KeyPath, value: &Value) -> Value {
    let elements = value.as_array().map_or(0, Vec::len);
    let has_secret = document.is_secret(path) || (0..elements).any(|index| document.is_secret(&path.index(index)));
    if has_secret || path.last_key().is_some_and(is_secret_name) { Value::from("…") } else { value.clone() }
}

/// A value as TOML on one line.
fn inline(value: &Value) -> String {
    match value {
        Value::Object(table) => {
            let entries =
                table.iter().map(|(key, value)| format!("{} = {}", KeyPath::of([key.as_str()]), inline(value)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        Value::Array(values) => format!("[{}]", values.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::String(text) => toml::Value::from(text.as_str()).to_string(),
        other => other.to_string(),
    }
}
