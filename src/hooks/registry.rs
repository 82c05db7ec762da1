//! The one list of plugins that are compiled in. A new plugin is a line here, a dependency and a feature.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};
use tidegate_plugin_sdk::schemars::schema_for;
use tidegate_plugin_sdk::{Admit, Build, ErrorKind, OptionIssue, Plugin, PluginError, PostAssembly, Stage, Validate};

use super::config::{OptionProblem, Options, PluginKind};

type Check = fn(&Options, &Path) -> Vec<OptionProblem>;
type CheckAt = fn(&Options, Stage) -> Option<String>;
type MakeInstance = fn(&Options, &Path) -> Result<Instance, PluginError>;

/// One instance, as each stage that it serves sees it.
#[derive(Clone)]
pub(super) struct Instance {
    pub plugin: Arc<dyn Plugin>,
    pub admit: Option<Arc<dyn Admit>>,
    pub validate: Option<Arc<dyn Validate>>,
    pub post_assembly: Option<Arc<dyn PostAssembly>>,
}

impl Instance {
    /// The one handle that is left of it here.
    pub(super) fn into_plugin(self) -> Arc<dyn Plugin> {
        self.plugin
    }
}

/// A kind of plugin.
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) stages: &'static [Stage],
    check: Check,
    check_at: CheckAt,
    pub(super) build: MakeInstance,
}

const KINDS: &[Kind] = &[
    #[cfg(feature = "plugin-command")]
    serves_all::<tidegate_plugin_command::Command>(),
    #[cfg(feature = "plugin-json")]
    validates::<tidegate_plugin_json::Json>(),
    #[cfg(feature = "plugin-json-schema")]
    validates::<tidegate_plugin_json_schema::JsonSchema>(),
    #[cfg(feature = "plugin-media-type")]
    validates::<tidegate_plugin_media_type::MediaType>(),
    #[cfg(feature = "plugin-webhook")]
    serves_all::<tidegate_plugin_webhook::Webhook>(),
];

/// The plugins that an instance can be of. Each is an instance of its own name too, with the default options, if these will do.
pub fn built_in_plugins() -> Vec<PluginKind> {
    let plugin =
        |kind: &Kind| PluginKind { name: kind.name, stages: kind.stages, check: kind.check, check_at: kind.check_at };
    KINDS.iter().map(plugin).collect()
}

pub(super) fn find(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// One that checks files, and nothing else.
const fn validates<P: Build + Validate>() -> Kind {
    let build: MakeInstance = |options, base| {
        let plugin = Arc::new(build::<P>(options, base)?);
        Ok(Instance { plugin: plugin.clone(), admit: None, validate: Some(plugin), post_assembly: None })
    };
    Kind { name: P::KIND, stages: &[Stage::Validate], check: check::<P>, check_at: check_at::<P>, build }
}

/// One that can be used at every stage.
const fn serves_all<P: Build + Admit + Validate + PostAssembly>() -> Kind {
    let build: MakeInstance = |options, base| {
        let plugin = Arc::new(build::<P>(options, base)?);
        Ok(Instance {
            plugin: plugin.clone(),
            admit: Some(plugin.clone()),
            validate: Some(plugin.clone()),
            post_assembly: Some(plugin),
        })
    };
    Kind { name: P::KIND, stages: &Stage::ALL, check: check::<P>, check_at: check_at::<P>, build }
}

/// Reads each option by itself, which it can be since all have defaults: so all that is wrong is told, each at its name.
fn check<P: Build>(options: &Options, base: &Path) -> Vec<OptionProblem> {
    let schema = schema_for!(P::Config).to_value();
    let known: Vec<&str> =
        schema["properties"].as_object().map_or(Vec::new(), |options| options.keys().map(String::as_str).collect());
    let mut problems = Vec::new();
    let mut options = with_texts_read::<P>(options);
    options.retain(|name, value| {
        let is_unknown = !known.contains(&name.as_str());
        let message = match read::<P>([(name.clone(), value.clone())]) {
            _ if is_unknown => format!("the plugin `{}` has no option `{name}`; known: {}", P::KIND, known.join(", ")),
            Err(error) => error.to_string(),
            Ok(_) => return true,
        };
        problems.push(OptionProblem { option: name.clone(), message, is_unknown });
        false
    });
    // The rest is held against each other without those; of them nothing more is said.
    let is_told = |option: &str| problems.iter().any(|told| option.split('.').next() == Some(&*told.option));
    let more: Vec<OptionProblem> = match read::<P>(options) {
        Ok(config) => {
            let found = P::check(&config, base).into_iter().filter(|issue| !is_told(&issue.option));
            found.map(|OptionIssue { option, message }| OptionProblem { option, message, is_unknown: false }).collect()
        }
        Err(error) => {
            vec![OptionProblem { option: String::new(), message: error.to_string(), is_unknown: false }]
        }
    };
    problems.extend(more);
    problems
}

fn check_at<P: Build>(options: &Options, stage: Stage) -> Option<String> {
    // What cannot be read `check` has told of.
    P::check_at(&read::<P>(with_texts_read::<P>(options)).ok()?, stage)
}

/// Of options that [`check`] found nothing wrong with.
fn build<P: Build>(options: &Options, base: &Path) -> Result<P, PluginError> {
    let config = read::<P>(with_texts_read::<P>(options))
        .map_err(|error| PluginError::permanent(ErrorKind::Config, "its options").caused_by(error))?;
    P::build(config, base)
}

/// What comes from the environment or a flag is text, and may stand for a number, a boolean or a list.
fn with_texts_read<P: Build>(options: &Options) -> Options {
    let settled = |(name, value): (&String, &Value)| {
        let takes = |value: &Value| read::<P>([(name.clone(), value.clone())]).is_ok();
        let meant = value.as_str().filter(|_| !takes(value)).and_then(|text| serde_json::from_str(text).ok());
        (name.clone(), meant.filter(takes).unwrap_or_else(|| value.clone()))
    };
    options.iter().map(settled).collect()
}

fn read<P: Build>(options: impl IntoIterator<Item = (String, Value)>) -> Result<P::Config, serde_json::Error> {
    serde_json::from_value(Value::Object(Map::from_iter(options)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = KINDS.iter().map(|kind| kind.name).collect();
        assert_eq!(names.len(), KINDS.len());
        assert!(names.iter().all(|name| find(name).is_some()));
        assert!(find("no-such-plugin").is_none());
    }

    #[cfg(feature = "plugin-json")]
    #[test]
    fn every_option_that_is_wrong_is_named() {
        let json = find("json").unwrap();
        let options = |options: &[(&str, Value)]| -> Options {
            options.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
        };
        let base = Path::new(".");
        assert!((json.build)(&Options::new(), base).is_ok(), "the defaults will do");
        assert!((json.build)(&options(&[("max_depth", 3.into())]), base).is_ok());
        assert!((json.build)(&options(&[("max_depth", "3".into())]), base).is_ok(), "as the environment gives it");
        let wrong = options(&[("depth", 3.into()), ("max_depth", "deep".into())]);
        let named: Vec<String> = (json.check)(&wrong, base).into_iter().map(|told| told.option).collect();
        assert_eq!(named, ["depth", "max_depth"]);
        let issues = (json.check)(&options(&[("max_depth", 0.into())]), base);
        assert!(issues[0].message.contains("from 1"), "{issues:?}");
        let both = (json.check)(&options(&[("depth", 3.into()), ("max_depth", 0.into())]), base);
        assert_eq!(
            both.iter().map(|told| (&*told.option, told.is_unknown)).collect::<Vec<_>>(),
            [("depth", true), ("max_depth", false)]
        );
        assert!((json.build)(&wrong, base).is_err());
    }
}
