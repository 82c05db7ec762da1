//! The one list of plugins that are compiled in. A new plugin is a line here, a dependency and a feature.

use std::sync::Arc;

use tidegate_plugin_sdk::{Build, ErrorKind, PluginError, Validate};

/// A kind of plugin that can check files.
pub(super) struct Kind {
    pub(super) name: &'static str,
    /// Makes an instance with the default options.
    pub(super) build: fn() -> Result<Arc<dyn Validate>, PluginError>,
}

const KINDS: &[Kind] = &[
    #[cfg(feature = "plugin-json")]
    validates::<tidegate_plugin_json::Json>(),
];

const NAMES: [&str; KINDS.len()] = {
    let mut names = [""; KINDS.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = KINDS[index].name;
        index += 1;
    }
    names
};

/// What a collection may name as a check without declaring an instance of its own.
pub fn built_in_names() -> &'static [&'static str] {
    &NAMES
}

pub(super) fn find(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

const fn validates<P: Build + Validate>() -> Kind {
    Kind { name: P::KIND, build: build::<P> }
}

fn build<P: Build + Validate>() -> Result<Arc<dyn Validate>, PluginError> {
    let config = P::Config::default();
    let issues = P::check(&config);
    if let Some(issue) = issues.first() {
        let context = format!("the default of `{}` is refused: {}", issue.option, issue.message);
        return Err(PluginError::permanent(ErrorKind::Config, context));
    }
    Ok(Arc::new(P::build(config)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own_and_builds_with_its_defaults() {
        for (index, name) in built_in_names().iter().enumerate() {
            assert!(!built_in_names()[..index].contains(name), "{name} twice");
            let kind = find(name).expect("a name that is listed is found");
            assert!((kind.build)().is_ok(), "{name}");
        }
        assert!(find("no-such-plugin").is_none());
    }

    #[cfg(feature = "plugin-json")]
    #[test]
    fn json_is_in_the_box() {
        assert!(built_in_names().contains(&"json"));
    }
}
