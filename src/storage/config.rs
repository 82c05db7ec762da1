//! The configuration of `storage`: `[storage.NAME]`, and what `config` must know of the services that are compiled in
//! to check such a section. Operators are built from it elsewhere in this module.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use opendal::{Builder, Configurator, services};
use schemars::JsonSchema;
use serde::de::{self, DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::diagnostics::is_secret_name;

/// The scheme of the service that stores on the gateway's own filesystem.
pub const FS: &str = "fs";

/// A place that files are published to.
#[derive(Clone, PartialEq, Eq, JsonSchema)]
pub struct StorageConfig {
    /// The OpenDAL service: `fs`, `memory`, `s3`, `gcs`, `azblob` or `webdav`.
    pub service: String,
    /// That service's own options, by the names that OpenDAL gives them, as `root` for `fs` and `bucket` for `s3`.
    #[schemars(flatten, with = "BTreeMap<String, OptionText>")]
    pub options: BTreeMap<String, String>,
}

impl StorageConfig {
    /// The root folder, for a storage on the gateway's own filesystem.
    pub fn local_root(&self) -> Option<&Path> {
        if self.service != FS {
            return None;
        }
        self.options.get("root").map(Path::new)
    }
}

/// Secrets stay secret in logs and panics. They may stand in any option, as a password in `endpoint`; so names alone.
impl fmt::Debug for StorageConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options: Vec<_> = self.options.keys().collect();
        formatter.debug_struct("StorageConfig").field("service", &self.service).field("options", &options).finish()
    }
}

/// As it is shown to people: with `…` where the name says that a secret stands.
impl Serialize for StorageConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shown = |(name, value)| (name, if is_secret_name(name) { "…" } else { value });
        let options = self.options.iter().map(|(name, value)| shown((name.as_str(), value.as_str())));
        serializer.collect_map(std::iter::once(("service", self.service.as_str())).chain(options))
    }
}

/// By hand, for `#[serde(flatten)]` would lose which option an error is about.
impl<'de> Deserialize<'de> for StorageConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut texts = BTreeMap::<String, OptionText>::deserialize(deserializer)?;
        let service = texts.remove("service").ok_or_else(|| D::Error::missing_field("service"))?.0;
        let options = texts.into_iter().map(|(name, text)| (name, text.0)).collect();
        Ok(Self { service, options })
    }
}

/// OpenDAL takes every option as text; in TOML a number or a boolean may stand there too.
#[derive(JsonSchema)]
#[schemars(inline)]
struct OptionText(#[schemars(schema_with = "option_text_schema")] String);

fn option_text_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": ["string", "boolean", "number"] })
}

impl<'de> Deserialize<'de> for OptionText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OptionTextVisitor;

        impl de::Visitor<'_> for OptionTextVisitor {
            type Value = OptionText;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("text, a number or a boolean")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<OptionText, E> {
                Ok(OptionText(text.to_owned()))
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<OptionText, E> {
                Ok(OptionText(value.to_string()))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<OptionText, E> {
                Ok(OptionText(number.to_string()))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<OptionText, E> {
                Ok(OptionText(number.to_string()))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<OptionText, E> {
                Ok(OptionText(number.to_string()))
            }
        }

        deserializer.deserialize_any(OptionTextVisitor)
    }
}

/// A service that is compiled in.
#[derive(Clone, Copy)]
pub struct Service {
    pub scheme: &'static str,
    /// The names that its options may have, other names for the same option among them.
    pub options: &'static [&'static str],
    /// Whether a stored file can be appended to in place, as the chunk writer needs.
    pub can_append: bool,
    /// Whether the service would take a section's options. Dials nothing, changes nothing.
    pub check: fn(&BTreeMap<String, String>) -> Result<(), String>,
}

/// The services that are compiled in.
pub fn services() -> Vec<Service> {
    vec![
        // The adapter for local disks is our own; it has no use for OpenDAL's other options.
        Service { scheme: FS, options: &["root"], can_append: true, check: check_fs },
        service::<services::MemoryConfig>("memory"),
        service::<services::S3Config>("s3"),
        service::<services::GcsConfig>("gcs"),
        service::<services::AzblobConfig>("azblob"),
        service::<services::WebdavConfig>("webdav"),
    ]
}

fn service<C: Configurator>(scheme: &'static str) -> Service {
    Service { scheme, options: field_names::<C>(), can_append: false, check: check_by_building::<C> }
}

/// Building the `fs` service would make its root, so it is not built.
fn check_fs(options: &BTreeMap<String, String>) -> Result<(), String> {
    match options.get("root") {
        Some(root) if !root.is_empty() => Ok(()),
        _ => Err("`root` is missing: the folder that files are published to".to_owned()),
    }
}

fn check_by_building<C: Configurator>(options: &BTreeMap<String, String>) -> Result<(), String> {
    let built = C::from_iter(options.clone()).and_then(|config| config.into_builder().build());
    built.map(drop).map_err(|error| said(&error))
}

/// OpenDAL's message with the cause that lies under it, without its context (which may hold an endpoint with a password).
pub(super) fn said(error: &opendal::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{}: {cause}", error.message()),
        None => error.message().to_owned(),
    }
}

/// The fields that a type deserializes from, asked from the type itself: it is given a deserializer that notes them and
/// gives up.
fn field_names<T: DeserializeOwned>() -> &'static [&'static str] {
    struct FieldNames<'a>(&'a mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for FieldNames<'_> {
        type Error = de::value::Error;

        fn deserialize_any<V: de::Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
            Err(de::value::Error::custom("only a struct has field names"))
        }

        fn deserialize_struct<V: de::Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Self::Error> {
            *self.0 = fields;
            Err(de::value::Error::custom("the field names are known"))
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    let mut names: &'static [&'static str] = &[];
    // The answer is an error whatever happens; what counts was noted.
    let _ = T::deserialize(FieldNames(&mut names));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn knows_the_options_of_every_service() {
        for service in services() {
            assert!(service.options.contains(&"root") || service.scheme == "memory", "{}", service.scheme);
        }
        let s3 = services().into_iter().find(|service| service.scheme == "s3").unwrap();
        assert!(s3.options.contains(&"secret_access_key"));
    }

    #[test]
    fn says_what_a_service_misses_without_dialling_or_making_anything() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("not/there");
        for service in services() {
            let answer = (service.check)(&BTreeMap::new());
            assert_eq!(answer.is_ok(), service.scheme == "memory", "{}: {answer:?}", service.scheme);
        }
        let by_scheme = |scheme| services().into_iter().find(|service| service.scheme == scheme).unwrap();
        assert_eq!((by_scheme("fs").check)(&options(&[("root", &root.to_string_lossy())])), Ok(()));
        assert!(!root.exists());
        let s3 = options(&[("bucket", "b"), ("region", "auto"), ("endpoint", "http://127.0.0.1:9")]);
        assert_eq!((by_scheme("s3").check)(&s3), Ok(()));
        let wrong = options(&[("bucket", "b"), ("region", "auto"), ("skip_signature", "perhaps")]);
        assert!((by_scheme("s3").check)(&wrong).is_err());
    }

    #[test]
    fn takes_numbers_and_booleans_as_text_and_shows_no_secret() {
        let text = r#"{"service": "s3", "bucket": "b", "batch_max_operations": 7, "skip_signature": true, "secret_access_key": "hunter2"}"#;
        let storage: StorageConfig = serde_json::from_str(text).unwrap();
        assert_eq!(storage.options["batch_max_operations"], "7");
        assert_eq!(storage.options["skip_signature"], "true");
        assert_eq!(storage.options["secret_access_key"], "hunter2");
        assert!(!format!("{storage:?}").contains("hunter2"));
        assert!(!serde_json::to_string(&storage).unwrap().contains("hunter2"));
    }
}
