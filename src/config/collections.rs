//! `[collection.NAME]` as it is written. What it becomes, checked, is [`Collection`].

use std::fmt;
use std::sync::Arc;

use globset::{GlobBuilder, GlobMatcher};
use schemars::JsonSchema;
use serde::de::{self, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::collection::{Collection, HookUse, OnFailure, PathTemplate, Verify};
use crate::units::{ByteSize, Period};

/// A place that files are sent to.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CollectionSection {
    /// The `[storage.NAME]` that its files are published to.
    pub storage: String,
    /// Where in that storage a file goes, with `{tenant}`, `{file_name}`, `{stem}` (the name up to its last dot), `{ext}`
    /// (the rest, with the dot) and `{session_id}`.
    #[serde(deserialize_with = "template_from_text", serialize_with = "template_to_text")]
    #[schemars(with = "String", example = &"{tenant}/{file_name}")]
    pub path: PathTemplate,
    /// The one extension that its files have, without the dot. Others are refused, and left alone where they lie in the
    /// storage already.
    #[serde(default, deserialize_with = "extension_from_text", skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"json")]
    pub extension: Option<String>,
    /// A larger file is refused as early as its size is known.
    #[serde(default = "default_max_file_size")]
    pub max_file_size: ByteSize,
    /// What is computed over every file beside CRC-64/NVME, which always is.
    #[serde(default)]
    pub digest: DigestSection,
    /// How publication convinces itself of what it stored.
    #[serde(default)]
    pub verify: VerifySection,
    /// Plugins that say, in this order, whether a file may become visible.
    #[serde(default)]
    pub validate: Vec<HookUseSection>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DigestSection {
    /// Nothing more.
    #[default]
    Crc64,
    /// SHA-256 too, for clients that ask for a file's checksum.
    Sha256,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VerifySection {
    /// The storage's own answer is believed.
    #[default]
    Off,
    /// The published file is read once more and compared before the upload counts as stored.
    ReadBack,
}

/// A use of a plugin: its name alone, or a table with what this use has of its own.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(with = "NameOrHookUse")]
pub struct HookUseSection {
    /// The plugin's name, as `json`.
    pub plugin: String,
    /// The names of the files that it is for, as `comptes_*.json`; without it, all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<FileNames>,
    /// How long one call may take; past it the use counts as failed.
    pub timeout: Period,
    /// What becomes of a file that the plugin could not check.
    pub on_failure: OnFailureSection,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFailureSection {
    /// It is rejected.
    #[default]
    Reject,
    /// It goes on as if the plugin had found nothing wrong, and the log says so.
    Accept,
}

/// A pattern of file names: `*` any characters, `?` one, `[ab]` one of these, `{a,b}` one of these texts.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(with = "String")]
pub struct FileNames(GlobMatcher);

impl Serialize for FileNames {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.glob().glob())
    }
}

impl<'de> Deserialize<'de> for FileNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Err(de::Error::custom("`files` is empty: leave it out for all files"));
        }
        let glob = GlobBuilder::new(&text).literal_separator(true).backslash_escape(true).build();
        let glob = glob.map_err(|error| {
            de::Error::custom(format_args!("`{text}` is no pattern of file names: {}", error.kind()))
        })?;
        Ok(Self(glob.compile_matcher()))
    }
}

/// What the schema says of a use; reading it is done by hand, for an untagged enum cannot say what is wrong inside.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
#[expect(dead_code, reason = "only its shape is asked for")]
enum NameOrHookUse {
    /// The plugin's name alone.
    Name(String),
    Use(HookUseTable),
}

/// A use of a plugin.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HookUseTable {
    /// The plugin's name, as `json`.
    plugin: String,
    /// The names of the files that it is for, as `comptes_*.json`; without it, all.
    #[serde(default)]
    files: Option<FileNames>,
    /// How long one call may take; past it the use counts as failed.
    #[serde(default = "default_hook_timeout")]
    timeout: Period,
    /// What becomes of a file that the plugin could not check.
    #[serde(default)]
    on_failure: OnFailureSection,
}

fn default_max_file_size() -> ByteSize {
    ByteSize::gib(100)
}

/// Enough for the check of a document of tens of gigabytes, short enough that a plugin which hangs is noticed.
fn default_hook_timeout() -> Period {
    Period::seconds(5 * 60)
}

impl CollectionSection {
    pub fn resolve(&self, name: &str) -> Collection {
        let hook_use = |hook: &HookUseSection| HookUse {
            plugin: hook.plugin.as_str().into(),
            files: hook.files.as_ref().map(|files| files.0.clone()),
            timeout: *hook.timeout,
            on_failure: match hook.on_failure {
                OnFailureSection::Reject => OnFailure::Reject,
                OnFailureSection::Accept => OnFailure::Accept,
            },
        };
        Collection {
            name: Arc::from(name),
            storage: self.storage.as_str().into(),
            path: self.path.clone(),
            extension: self.extension.as_deref().map(Arc::from),
            max_file_size: self.max_file_size.get(),
            sha256: self.digest == DigestSection::Sha256,
            verify: match self.verify {
                VerifySection::Off => Verify::Off,
                VerifySection::ReadBack => Verify::ReadBack,
            },
            validate: self.validate.iter().map(hook_use).collect(),
        }
    }
}

fn template_from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathTemplate, D::Error> {
    PathTemplate::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

fn extension_from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let is_plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match text.split('.').all(is_plain) {
        true => Ok(Some(text)),
        false => Err(de::Error::custom(format_args!(
            "`{text}` is no extension: write letters and digits without the dot before them, as \"json\""
        ))),
    }
}

fn template_to_text<S: Serializer>(template: &PathTemplate, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(template.as_str())
}

impl<'de> Deserialize<'de> for HookUseSection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HookUseVisitor;

        impl<'de> de::Visitor<'de> for HookUseVisitor {
            type Value = HookUseSection;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a plugin's name, or a table as { plugin = \"json\", timeout = \"5s\" }")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<HookUseSection, E> {
                Ok(HookUseSection {
                    plugin: name.to_owned(),
                    files: None,
                    timeout: default_hook_timeout(),
                    on_failure: OnFailureSection::default(),
                })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<HookUseSection, A::Error> {
                let HookUseTable { plugin, files, timeout, on_failure } =
                    HookUseTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(HookUseSection { plugin, files, timeout, on_failure })
            }
        }

        deserializer.deserialize_any(HookUseVisitor)
    }
}
