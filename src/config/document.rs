//! The layers of the configuration and what they make together. figment merges; here stands what it does not know: where
//! each value was written. What the values mean is no matter of this file.

use std::collections::BTreeMap;
use std::fmt;

use figment::value::{Dict, Map, Value};
use figment::{Error, Figment, Metadata, Profile, Provider};

use crate::diagnostics::{KeyPath, Origin, Step, is_secret_name};

/// Where a value was written.
#[derive(Debug, Clone)]
pub struct Written {
    /// The key's place, for what is said about the key or about a whole table.
    pub key: Origin,
    pub value: Origin,
    /// Text from where everything is text, as the environment: it may stand for a number, a boolean or an array.
    pub untyped: bool,
    /// Whatever its name, it came out of a file that was named for its content.
    pub secret: bool,
}

impl Written {
    pub fn at(origin: Origin) -> Self {
        Self { key: origin.clone(), value: origin, untyped: false, secret: false }
    }

    pub fn untyped_at(origin: Origin) -> Self {
        Self { untyped: true, ..Self::at(origin) }
    }
}

/// Values of one origin, each with its place.
#[derive(Clone)]
pub struct Layer {
    /// Its own among the layers of a document.
    name: &'static str,
    values: Dict,
    written: BTreeMap<KeyPath, Written>,
}

impl Layer {
    pub fn new(name: &'static str) -> Self {
        Self { name, values: Dict::new(), written: BTreeMap::new() }
    }

    pub fn from_parts(name: &'static str, values: Dict, written: BTreeMap<KeyPath, Written>) -> Self {
        Self { name, values, written }
    }

    /// Puts a value at a path of keys. `Err`: a value that is no table stands on the way.
    pub fn insert(&mut self, keys: &[String], value: Value, written: Written) -> Result<(), KeyPath> {
        let Some((last, tables)) = keys.split_last() else {
            return Ok(());
        };
        let mut dict = &mut self.values;
        let mut path = KeyPath::default();
        for key in tables {
            path = path.key(key);
            let next = dict.entry(key.clone()).or_insert_with(|| Value::from(Dict::new()));
            let Value::Dict(_, inner) = next else {
                return Err(path);
            };
            dict = inner;
        }
        let path = path.key(last);
        if matches!(dict.get(last), Some(Value::Dict(..))) {
            return Err(path);
        }
        dict.insert(last.clone(), value);
        self.written.insert(path, written);
        Ok(())
    }
}

impl Provider for &Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// Layers merged, the later over the earlier: tables key by key, everything else whole.
#[derive(Clone)]
pub struct Document {
    layers: Vec<Layer>,
    figment: Figment,
    merged: Value,
}

impl Document {
    pub fn of(layers: Vec<Layer>) -> Self {
        let figment = layers.iter().fold(Figment::new(), |figment, layer| figment.merge(layer));
        // Only a provider can fail, and `Layer` does not.
        let merged = figment.find_value("").unwrap_or_else(|_| Value::from(Dict::new()));
        Self { layers, figment, merged }
    }

    #[must_use]
    pub fn with(mut self, layer: Layer) -> Self {
        self.layers.push(layer);
        Self::of(self.layers)
    }

    pub fn merged(&self) -> &Value {
        &self.merged
    }

    pub fn get(&self, path: &KeyPath) -> Option<&Value> {
        get(&self.merged, path)
    }

    pub fn text(&self, path: &KeyPath) -> Option<&str> {
        self.get(path)?.as_str()
    }

    /// Where exactly this path was written.
    fn written(&self, path: &KeyPath) -> Option<&Written> {
        match self.get(path)? {
            // A table may stand in several layers; the first is where people look for it.
            Value::Dict(..) => self.layers.iter().find_map(|layer| layer.written.get(path)),
            value => {
                let name = &self.figment.get_metadata(value.tag())?.name;
                self.layers.iter().find(|layer| layer.name == name)?.written.get(path)
            }
        }
    }

    /// Where a value, or what holds it, was written.
    pub fn origin_of_value(&self, path: &KeyPath) -> Origin {
        self.nearest_written(path).map_or(Origin::Default, |written| written.value.clone())
    }

    /// Where a key, or what holds it, was written.
    pub fn origin_of_key(&self, path: &KeyPath) -> Origin {
        self.nearest_written(path).map_or(Origin::Default, |written| written.key.clone())
    }

    fn nearest_written(&self, path: &KeyPath) -> Option<&Written> {
        path.and_ancestors().find_map(|path| self.written(&path))
    }

    /// Where a value was written, if anybody wrote it: a table that it is missing from does not count.
    pub fn origin_if_written(&self, path: &KeyPath) -> Origin {
        match self.get(path) {
            Some(_) => self.origin_of_value(path),
            None => Origin::Default,
        }
    }

    pub fn is_untyped(&self, path: &KeyPath) -> bool {
        self.written(path).is_some_and(|written| written.untyped)
    }

    pub fn is_secret(&self, path: &KeyPath) -> bool {
        self.written(path).is_some_and(|written| written.secret) || path.last_key().is_some_and(is_secret_name)
    }

    /// Every text that nobody may see.
    pub fn secrets(&self) -> Vec<String> {
        let mut secrets = Vec::new();
        self.collect_secrets(&KeyPath::default(), &self.merged, &mut secrets);
        secrets
    }

    fn collect_secrets(&self, path: &KeyPath, value: &Value, secrets: &mut Vec<String>) {
        match value {
            Value::Dict(_, dict) => {
                for (key, value) in dict {
                    self.collect_secrets(&path.key(key), value, secrets);
                }
            }
            Value::Array(_, values) => {
                for (index, value) in values.iter().enumerate() {
                    self.collect_secrets(&path.index(index), value, secrets);
                }
            }
            Value::String(_, text) if self.is_secret(path) => secrets.push(text.clone()),
            // Written without quotes by mistake.
            Value::Num(_, number) if self.is_secret(path) => {
                secrets.extend(number.to_i128().map(|number| number.to_string()).filter(|text| text.len() >= SHORTEST));
            }
            _ => {}
        }
    }
}

/// Shorter numbers are no secrets, and stand in many a message.
const SHORTEST: usize = 4;

/// Without the values: there are secrets among them.
impl fmt::Debug for Document {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.layers.iter().map(|layer| layer.name)).finish()
    }
}

/// The value at a path.
pub fn get<'a>(value: &'a Value, path: &KeyPath) -> Option<&'a Value> {
    path.steps().iter().try_fold(value, |value, step| match (value, step) {
        (Value::Dict(_, dict), Step::Key(key)) => dict.get(key),
        (Value::Array(_, values), Step::Index(index)) => values.get(*index),
        _ => None,
    })
}

/// The value at a path, to be changed.
pub fn get_mut<'a>(value: &'a mut Value, path: &KeyPath) -> Option<&'a mut Value> {
    path.steps().iter().try_fold(value, |value, step| match (value, step) {
        (Value::Dict(_, dict), Step::Key(key)) => dict.get_mut(key),
        (Value::Array(_, values), Step::Index(index)) => values.get_mut(*index),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(path: &str) -> Vec<String> {
        path.split('.').map(str::to_owned).collect()
    }

    fn layer(name: &'static str, values: &[(&str, Value)]) -> Layer {
        let mut layer = Layer::new(name);
        for (path, value) in values {
            layer.insert(&keys(path), value.clone(), Written::at(Origin::Variable(name.to_owned()))).unwrap();
        }
        layer
    }

    #[test]
    fn a_later_layer_goes_over_an_earlier_one_key_by_key() {
        let low = layer("low", &[("a.x", 1.into()), ("a.y", 2.into()), ("a.list", vec![1, 2, 3].into())]);
        let high = layer("high", &[("a.y", 3.into()), ("a.list", vec![9].into())]);
        let document = Document::of(vec![low]).with(high);
        let at = |path: &str| KeyPath::of(path.split('.'));
        assert_eq!(document.get(&at("a.x")).and_then(Value::to_i128), Some(1));
        assert_eq!(document.get(&at("a.y")).and_then(Value::to_i128), Some(3));
        assert_eq!(document.get(&at("a.list").index(1)).and_then(Value::to_i128), None);
        assert_eq!(document.origin_of_value(&at("a.x")).to_string(), "environment variable low");
        assert_eq!(document.origin_of_value(&at("a.y")).to_string(), "environment variable high");
        assert_eq!(document.origin_of_value(&at("a.list").index(0)).to_string(), "environment variable high");
        assert!(matches!(document.origin_if_written(&at("a.z")), Origin::Default));
    }

    #[test]
    fn a_value_is_no_table() {
        let mut layer = layer("one", &[("a.x", 1.into())]);
        let written = || Written::at(Origin::Default);
        assert_eq!(layer.insert(&keys("a.x.y"), 1.into(), written()), Err(KeyPath::of(["a", "x"])));
        assert_eq!(layer.insert(&keys("a"), 1.into(), written()), Err(KeyPath::of(["a"])));
    }

    #[test]
    fn secrets_go_by_name_or_by_where_they_were_read() {
        let mut layer = layer("one", &[("s.secret_access_key", "hunter2".into()), ("s.root", "r".into())]);
        let read = Written { secret: true, ..Written::at(Origin::Default) };
        layer.insert(&keys("s.endpoint"), "https://u:p@h".into(), read).unwrap();
        let mut secrets = Document::of(vec![layer]).secrets();
        secrets.sort();
        assert_eq!(secrets, ["https://u:p@h", "hunter2"]);
    }
}
