//! From the merged document to typed sections, with every error and not only serde's first: what an error is about is
//! taken out of the document, and serde asked again.

use std::collections::{BTreeMap, BTreeSet};

use figment::error::{Actual, Kind};
use figment::value::Value;
use serde::de::DeserializeOwned;

use super::document::{Document, get, get_mut};
use super::file::reread;
use crate::diagnostics::{Diagnostic, Diagnostics, KeyPath, Step, nearest};

/// More errors than these nobody reads at once; it ends the loop whatever a `Deserialize` does.
const MOST_ERRORS: usize = 200;

/// Paths of values that something was said about. What depends on one of them is not judged.
#[derive(Debug, Default)]
pub struct Broken(BTreeSet<KeyPath>);

impl Broken {
    pub fn add(&mut self, path: KeyPath) {
        self.0.insert(path);
    }

    /// Whether a value, what holds it or what it holds is broken.
    pub fn touches(&self, path: &KeyPath) -> bool {
        self.0.iter().any(|broken| broken.starts_with(path) || path.starts_with(broken))
    }

    /// Whether a value as a whole is left out, and not only something in it.
    pub fn is_left_out(&self, path: &KeyPath) -> bool {
        self.0.contains(path)
    }

    /// Whether a value or what holds it is broken.
    fn covers(&self, path: &KeyPath) -> bool {
        path.and_ancestors().any(|path| self.0.contains(&path))
    }
}

/// Reads the document as a `T` whose every field has a default or stands in a table that can be left out. `None` only if
/// that does not hold.
pub fn decode<T: DeserializeOwned>(
    document: &Document,
    broken: &mut Broken,
    diagnostics: &mut Diagnostics,
) -> Option<T> {
    let mut decoder =
        Decoder { document, broken, diagnostics, value: document.merged().clone(), removed: BTreeMap::new() };
    decoder.remove_broken();
    for _ in 0..MOST_ERRORS {
        match T::deserialize(&decoder.value) {
            Ok(decoded) => return Some(decoded),
            Err(error) => decoder.go_round(error)?,
        }
    }
    None
}

struct Decoder<'a> {
    document: &'a Document,
    broken: &'a mut Broken,
    diagnostics: &'a mut Diagnostics,
    /// What is left of the document.
    value: Value,
    /// By the path of an array in the document, which of its elements are gone, in order.
    removed: BTreeMap<KeyPath, BTreeSet<usize>>,
}

impl Decoder<'_> {
    /// Takes out what was found broken before, from the back, so that numbers stay what they are.
    fn remove_broken(&mut self) {
        let paths: Vec<_> = self.broken.0.iter().rev().cloned().collect();
        for path in paths {
            // What is no part of an array was left out when it was read.
            let _ = self.remove(&path, &path);
        }
    }

    /// Changes the value so that the same error does not come again. `None`: there is no way round it.
    fn go_round(&mut self, error: figment::Error) -> Option<()> {
        let path = self.path_now(&error.path);
        let original = self.path_in_document(&path);
        if matches!(error.kind, Kind::InvalidType(..)) && self.read_again(&path, &original) {
            return Some(());
        }
        let missing = match &error.kind {
            Kind::MissingField(name) => Some(original.key(name)),
            _ => None,
        };
        if !self.broken.covers(missing.as_ref().unwrap_or(&original)) {
            self.say(&error.kind, &original, missing.as_ref());
        }
        self.broken.add(original.clone());
        self.remove(&path, &original)
    }

    /// The error's path, with its numbers told from keys by what stands there.
    fn path_now(&self, steps: &[String]) -> KeyPath {
        steps.iter().fold(KeyPath::default(), |path, step| match (get(&self.value, &path), step.parse()) {
            (Some(Value::Array(..)), Ok(index)) => path.index(index),
            _ => path.key(step),
        })
    }

    /// The same path before anything was removed.
    fn path_in_document(&self, path: &KeyPath) -> KeyPath {
        path.steps().iter().fold(KeyPath::default(), |original, step| match step {
            Step::Key(key) => original.key(key),
            Step::Index(index) => {
                let removed = self.removed.get(&original).into_iter().flatten();
                let index = removed.fold(*index, |index, gone| if *gone <= index { index + 1 } else { index });
                original.index(index)
            }
        })
    }

    /// A text out of the environment may stand for a number, a boolean or an array.
    fn read_again(&mut self, path: &KeyPath, original: &KeyPath) -> bool {
        if !self.document.is_untyped(original) {
            return false;
        }
        let Some(Value::String(_, text)) = get(&self.value, path) else {
            return false;
        };
        let Some(value) = reread(text).filter(|value| value.as_str().is_none()) else {
            return false;
        };
        get_mut(&mut self.value, path).map(|place| *place = value).is_some()
    }

    fn remove(&mut self, path: &KeyPath, original: &KeyPath) -> Option<()> {
        let parent = path.parent()?;
        match (get_mut(&mut self.value, &parent)?, path.steps().last()?) {
            (Value::Dict(_, dict), Step::Key(key)) => dict.remove(key).map(drop),
            (Value::Array(_, values), Step::Index(index)) if *index < values.len() => {
                values.remove(*index);
                if let (Some(array), Some(Step::Index(index))) = (original.parent(), original.steps().last()) {
                    self.removed.entry(array).or_default().insert(*index);
                }
                Some(())
            }
            _ => None,
        }
    }

    fn say(&mut self, kind: &Kind, path: &KeyPath, missing: Option<&KeyPath>) {
        let is_about_key = matches!(kind, Kind::UnknownField(..) | Kind::MissingField(_));
        let origin = if is_about_key { self.document.origin_of_key(path) } else { self.document.origin_of_value(path) };
        let (message, help) = said(kind, path);
        let key = missing.unwrap_or(path).clone();
        self.diagnostics.push(Diagnostic { help, ..Diagnostic::error(key, origin, message) });
    }
}

/// Message and help for an error. Values are left out of it unless they are what it is about.
fn said(kind: &Kind, path: &KeyPath) -> (String, Option<String>) {
    match kind {
        Kind::UnknownField(name, known) => (format!("unknown key `{name}`"), Some(among(name, known))),
        Kind::UnknownVariant(name, known) => {
            (format!("`{name}` is not among the values here"), Some(among(name, known)))
        }
        Kind::MissingField(name) => {
            (format!("`{name}` is missing in `{path}`"), Some(format!("write `{name} = …` there")))
        }
        Kind::InvalidType(actual, expected) => {
            (format!("expected {}, found {}", in_words(expected), kind_of(actual)), None)
        }
        Kind::InvalidValue(actual, expected) => {
            (format!("{} is not possible here: expected {}", value_of(actual), in_words(expected)), None)
        }
        Kind::InvalidLength(length, expected) => (format!("expected {}, found {length}", in_words(expected)), None),
        Kind::Message(message) => (message.clone(), None),
        other => (other.to_string(), None),
    }
}

fn among(given: &str, known: &[&str]) -> String {
    match nearest(given, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("known here: {}", known.join(", ")),
    }
}

/// serde names Rust's types.
fn in_words(expected: &str) -> &str {
    match expected {
        "a sequence" => "an array, as [\"…\"]",
        "a map" => "a table",
        "a string" => "text in quotes",
        "a boolean" => "true or false",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number from 0 on",
        "path string" => "a path in quotes",
        other if other.starts_with("struct ") => "a table",
        other if other.starts_with("enum ") => "one of the known names, in quotes",
        other => other,
    }
}

fn value_of(actual: &Actual) -> String {
    match actual {
        Actual::Unsigned(number) => format!("`{number}`"),
        Actual::Signed(number) => format!("`{number}`"),
        Actual::Float(number) => format!("`{number}`"),
        Actual::Str(text) => format!("`{text}`"),
        other => kind_of(other).to_owned(),
    }
}

fn kind_of(actual: &Actual) -> &'static str {
    match actual {
        Actual::Bool(_) => "true or false",
        Actual::Unsigned(_) | Actual::Signed(_) => "a whole number",
        Actual::Float(_) => "a number with a point",
        Actual::Seq => "an array",
        Actual::Map => "a table",
        _ => "text",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use serde::Deserialize;

    use super::*;
    use crate::config::file;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Entry {
        name: String,
        #[serde(default)]
        size: u32,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Whole {
        numbers: Vec<u32>,
        entries: Vec<Entry>,
        named: BTreeMap<String, Entry>,
    }

    fn decode_text(text: &str) -> (Option<Whole>, Vec<String>) {
        let mut diagnostics = Diagnostics::default();
        let variables = BTreeMap::from([("FIVE".to_owned(), "5".to_owned())]);
        let read = file::read("f", Path::new(""), text, &variables, &mut diagnostics);
        let document = Document::of(vec![read.layer]);
        let whole = decode(&document, &mut Broken::default(), &mut diagnostics);
        diagnostics.sort();
        let said = diagnostics.iter().map(|d| format!("{} {}: {}", d.origin, d.key, d.message)).collect();
        (whole, said)
    }

    #[test]
    fn tells_every_error_each_at_its_own_place() {
        let (whole, said) = decode_text(concat!(
            "numbers = [1, \"a\", 2, -3, \"b\"]\n",
            "sizes = 1\n",
            "[[entries]]\nname = 1\ncolour = 2\n",
            "[[entries]]\nname = \"x\"\nsize = \"7\"\n",
            "[named.a]\nsize = 1\n",
            "[named.b]\nname = \"b\"\nsize = true\n",
        ));
        assert_eq!(
            said,
            [
                "f:1:15 numbers[1]: expected a whole number from 0 to 4294967295, found text",
                "f:1:23 numbers[3]: `-3` is not possible here: expected a whole number from 0 to 4294967295",
                "f:1:27 numbers[4]: expected a whole number from 0 to 4294967295, found text",
                "f:2:1 sizes: unknown key `sizes`",
                "f:4:8 entries[0].name: expected text in quotes, found a whole number",
                "f:5:1 entries[0].colour: unknown key `colour`",
                "f:8:8 entries[1].size: expected a whole number from 0 to 4294967295, found text",
                "f:9:8 named.a.name: `name` is missing in `named.a`",
                "f:13:8 named.b.size: expected a whole number from 0 to 4294967295, found true or false",
            ]
        );
        let whole = whole.unwrap();
        assert_eq!(whole.numbers, [1, 2]);
        assert_eq!(whole.entries, [Entry { name: "x".to_owned(), size: 0 }]);
        assert_eq!(whole.named.keys().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn text_that_was_filled_in_may_be_a_number() {
        let (whole, said) = decode_text("numbers = [\"${FIVE}\"]\n[named.a]\nname = \"${FIVE}\"\n");
        assert!(said.is_empty(), "{said:?}");
        let whole = whole.unwrap();
        assert_eq!((whole.numbers[0], whole.named["a"].name.as_str()), (5, "5"));
    }
}
