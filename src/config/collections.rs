//! `[collection.NAME]` as it is written. What it becomes, checked, is [`Collection`].

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::hook_uses::{HookUseSection, OnAdmitFailureSection, OnCheckFailureSection, OnFollowUpFailureSection};
use crate::collection::{Collection, PathTemplate, Verify};
use crate::units::ByteSize;

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
    /// Plugins that say, in this order, whether a file may be sent, before its first byte.
    #[serde(default)]
    pub admit: Vec<HookUseSection<OnAdmitFailureSection>>,
    /// Plugins that say, in this order, whether a file may become visible.
    #[serde(default)]
    pub validate: Vec<HookUseSection<OnCheckFailureSection>>,
    /// Plugins that do what must happen after a file was published: each at least once, whatever happens to the gateway meanwhile, and none
    /// waits for another.
    #[serde(default)]
    pub post_assembly: Vec<HookUseSection<OnFollowUpFailureSection>>,
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

fn default_max_file_size() -> ByteSize {
    ByteSize::gib(100)
}

impl CollectionSection {
    pub fn resolve(&self, name: &str) -> Collection {
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
            admit: self.admit.iter().map(HookUseSection::resolve).collect(),
            validate: self.validate.iter().map(HookUseSection::resolve).collect(),
            post_assembly: self.post_assembly.iter().map(HookUseSection::resolve).collect(),
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
