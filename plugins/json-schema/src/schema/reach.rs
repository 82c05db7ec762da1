//! What `$ref` reaches beside its own document: files, and what was fetched from hosts. What could be fetched and was not yet is noted,
//! and an empty schema stands in for it.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::sync::Arc;

use jsonschema::{Retrieve, Uri};
use parking_lot::Mutex;
use reqwest::Url;
use serde_json::{Value, json};

use super::files::Files;
use super::hosts::Hosts;

/// The documents of hosts, by their addresses.
pub type Fetched = HashMap<String, Value>;

/// Where to fetch what is missing, by its address.
pub type Lacking = BTreeMap<String, Url>;

#[derive(Debug, Clone)]
pub struct Reach {
    files: Files,
    hosts: Hosts,
    fetched: Arc<Fetched>,
    lacking: Arc<Mutex<Lacking>>,
}

impl Reach {
    pub fn new(files: Files, hosts: Hosts, fetched: Arc<Fetched>) -> Self {
        Self { files, hosts, fetched, lacking: Arc::default() }
    }

    /// What was asked for so far and is not there.
    pub fn lacking(&self) -> Lacking {
        self.lacking.lock().clone()
    }

    fn find(&self, address: &Uri<String>) -> Result<Value, String> {
        if address.scheme().as_str() == "file" {
            return self.files.find(address);
        }
        if let Some(document) = self.fetched.get(address.as_str()) {
            return Ok(document.clone());
        }
        let url = self.hosts.locate(address)?;
        self.lacking.lock().insert(address.as_str().to_owned(), url);
        Ok(json!({}))
    }
}

impl Retrieve for Reach {
    fn retrieve(&self, address: &Uri<String>) -> Result<Value, Box<dyn Error + Send + Sync>> {
        Ok(self.find(address)?)
    }
}

/// What a document of a host says of files of this machine, if anything: it has nothing to do with them. That is looked for in all of
/// it, as what refers to what is only known when everything is there.
pub fn file_named_in(document: &Value) -> Option<&str> {
    const NAMING: [&str; 6] = ["$ref", "$dynamicRef", "$recursiveRef", "$id", "id", "$schema"];
    let is_file = |text: &&str| text.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("file:"));
    match document {
        Value::Object(members) => members.iter().find_map(|(name, value)| match value {
            Value::String(text) if NAMING.contains(&name.as_str()) => Some(text.as_str()).filter(is_file),
            value => file_named_in(value),
        }),
        Value::Array(items) => items.iter().find_map(file_named_in),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_wherever_it_is_named() {
        for document in [
            json!({"$ref": "file:///etc/hostname"}),
            json!({"properties": {"id": {"allOf": [true, {"$ref": "FILE:a.json#/b"}]}}}),
            json!({"x": [{"$id": "file:///schemas/common.json"}]}),
            json!({"id": "file:///schemas/common.json"}),
            json!({"$schema": "file:///schemas/meta.json"}),
        ] {
            assert!(file_named_in(&document).is_some(), "{document}");
        }
        for document in [json!({"$ref": "file.json", "properties": {"$ref": {"const": "file:///a"}}}), json!("file:")] {
            assert_eq!(file_named_in(&document), None);
        }
    }
}
