//! The uses of plugins as they are written in a collection: a plugin's name, or a table. What they become is
//! [`HookUse`]; that the plugin is there and serves the stage is checked in [`super::check_hooks`].

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use globset::{GlobBuilder, GlobMatcher};
use schemars::JsonSchema;
use serde::de::{self, DeserializeOwned, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::collection::{HookUse, OnAdmitFailure, OnCheckFailure, OnFollowUpFailure};
use crate::hooks::config::Stage;
use crate::units::Period;

/// What a stage has of its own: its defaults, and what a failure can mean there.
pub trait AtStage: Default + Copy + fmt::Debug + DeserializeOwned + Serialize + JsonSchema {
    type Resolved;
    const STAGE: Stage;
    /// What the waits between attempts may add up to.
    const LONGEST_RETRY: Duration;
    /// What one call may take, where that is not the operator's matter alone.
    const LONGEST_TIMEOUT: Option<Duration> = None;

    fn timeout() -> Period;
    fn retry() -> Vec<Period>;
    fn resolve(self) -> Self::Resolved;
}

/// What becomes of a file that the plugin could not decide on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnAdmitFailureSection {
    /// It is refused.
    #[default]
    Deny,
}

/// What becomes of a file that the plugin could not check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnCheckFailureSection {
    /// It is rejected.
    #[default]
    Reject,
    /// It goes on as if the plugin had found nothing wrong, and the log says so.
    Accept,
}

/// What becomes of a follow-up whose last attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnFollowUpFailureSection {
    /// It is kept as a dead letter, until somebody retries or discards it.
    #[default]
    DeadLetter,
    /// The log tells of it, and nothing is kept.
    Drop,
}

impl AtStage for OnAdmitFailureSection {
    type Resolved = OnAdmitFailure;
    const STAGE: Stage = Stage::Admit;
    const LONGEST_RETRY: Duration = Duration::from_secs(30);
    const LONGEST_TIMEOUT: Option<Duration> = Some(Duration::from_secs(60));

    fn timeout() -> Period {
        Period::seconds(10)
    }

    fn retry() -> Vec<Period> {
        Vec::new()
    }

    fn resolve(self) -> OnAdmitFailure {
        let Self::Deny = self;
        OnAdmitFailure::Deny
    }
}

impl AtStage for OnCheckFailureSection {
    type Resolved = OnCheckFailure;
    const STAGE: Stage = Stage::Validate;
    const LONGEST_RETRY: Duration = Duration::from_secs(5 * 60);

    /// Enough for the check of a document of tens of gigabytes, short enough that a plugin which hangs is noticed.
    fn timeout() -> Period {
        Period::seconds(5 * 60)
    }

    fn retry() -> Vec<Period> {
        Vec::new()
    }

    fn resolve(self) -> OnCheckFailure {
        match self {
            Self::Reject => OnCheckFailure::Reject,
            Self::Accept => OnCheckFailure::Accept,
        }
    }
}

impl AtStage for OnFollowUpFailureSection {
    type Resolved = OnFollowUpFailure;
    const STAGE: Stage = Stage::PostAssembly;
    const LONGEST_RETRY: Duration = Duration::from_secs(90 * 24 * 3600);

    fn timeout() -> Period {
        Period::seconds(5 * 60)
    }

    /// As Standard Webhooks 1.0.0 advises: ten attempts in about three days.
    fn retry() -> Vec<Period> {
        const HOUR: u64 = 3600;
        [5, 5 * 60, 30 * 60, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR]
            .map(Period::seconds)
            .to_vec()
    }

    fn resolve(self) -> OnFollowUpFailure {
        match self {
            Self::DeadLetter => OnFollowUpFailure::DeadLetter,
            Self::Drop => OnFollowUpFailure::Drop,
        }
    }
}

/// A use of a plugin: its name alone, or a table with what this use has of its own.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(with = "NameOrHookUse<F>", bound = "F: AtStage")]
pub struct HookUseSection<F> {
    /// The plugin's name, as `json`.
    pub plugin: String,
    /// The names of the files that it is for, as `comptes_*.json`; without it, all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<FileNames>,
    /// How long one call may take; past it the use counts as failed.
    pub timeout: Period,
    /// The waits before it is tried again.
    pub retry: Vec<Period>,
    /// What the failure of the last attempt means.
    pub on_failure: F,
}

impl<F: AtStage> HookUseSection<F> {
    pub fn resolve(&self) -> HookUse<F::Resolved> {
        HookUse {
            plugin: self.plugin.as_str().into(),
            files: self.files.as_ref().map(|files| files.0.clone()),
            timeout: *self.timeout,
            retry: self.retry.iter().map(|wait| **wait).collect(),
            on_failure: self.on_failure.resolve(),
        }
    }
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
#[schemars(untagged, inline, bound = "F: AtStage")]
#[expect(dead_code, reason = "only its shape is asked for")]
enum NameOrHookUse<F> {
    /// The plugin's name alone.
    Name(String),
    Use(HookUseTable<F>),
}

/// A use of a plugin.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, bound = "F: AtStage")]
#[schemars(rename = "HookUse_{F}", bound = "F: AtStage")]
struct HookUseTable<F> {
    /// The plugin's name, as `json`.
    plugin: String,
    /// The names of the files that it is for, as `comptes_*.json`; without it, all. After publication that is the published name: of an
    /// upload in chunks it holds the session's id.
    #[serde(default)]
    files: Option<FileNames>,
    /// How long one call may take; past it the use counts as failed.
    #[serde(default = "F::timeout")]
    timeout: Period,
    /// The waits before it is tried again where it failed in a way that a retry may mend, as `["1s", "5s"]`; `[]`: never. There is one
    /// attempt more than there are waits.
    #[serde(default = "F::retry")]
    retry: Vec<Period>,
    /// What the failure of the last attempt means.
    #[serde(default)]
    on_failure: F,
}

impl<'de, F: AtStage> Deserialize<'de> for HookUseSection<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(HookUseVisitor(PhantomData))
    }
}

struct HookUseVisitor<F>(PhantomData<F>);

impl<'de, F: AtStage> de::Visitor<'de> for HookUseVisitor<F> {
    type Value = HookUseSection<F>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a plugin's name, or a table as { plugin = \"json\", timeout = \"5s\" }")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<HookUseSection<F>, E> {
        Ok(HookUseSection {
            plugin: name.to_owned(),
            files: None,
            timeout: F::timeout(),
            retry: F::retry(),
            on_failure: F::default(),
        })
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<HookUseSection<F>, A::Error> {
        let HookUseTable { plugin, files, timeout, retry, on_failure } =
            HookUseTable::deserialize(MapAccessDeserializer::new(map))?;
        Ok(HookUseSection { plugin, files, timeout, retry, on_failure })
    }
}
