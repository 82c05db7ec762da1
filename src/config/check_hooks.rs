//! What hooks and plugins must be to one another: a use names a plugin that is there and serves the stage; an instance is of a plugin
//! that is compiled in, with options that it takes.

use std::collections::BTreeSet;
use std::time::Duration;

use super::check::{Checker, near_or_all};
use super::collections::CollectionSection;
use super::hook_uses::{AtStage, HookUseSection};
use super::sections::Sections;
use crate::diagnostics::KeyPath;
use crate::hooks::config::{OptionProblem, Options, PluginConfig, PluginKind, Stage};
use crate::units::Period;

impl Checker<'_> {
    /// The uses of a collection.
    pub(super) fn hooks(&mut self, path: &KeyPath, collection: &CollectionSection, sections: &Sections) {
        self.uses(path, &collection.admit, sections);
        self.uses(path, &collection.validate, sections);
        self.uses(path, &collection.post_assembly, sections);
        self.one_use_of_each(path, collection);
    }

    fn uses<F: AtStage>(&mut self, collection: &KeyPath, uses: &[HookUseSection<F>], sections: &Sections) {
        let list = collection.key(F::STAGE.as_str());
        for (index, hook) in uses.iter().enumerate() {
            let at = list.index(self.index_in_document(&list, index));
            self.plugin_of(&at, &hook.plugin, F::STAGE, sections);
            let waits = hook.retry.iter().fold(Duration::ZERO, |waits, wait| waits.saturating_add(**wait));
            if waits > F::LONGEST_RETRY {
                let longest = Period::of(F::LONGEST_RETRY);
                let message = match F::STAGE {
                    Stage::PostAssembly => format!("the waits of `retry` add up to more than {longest}"),
                    stage => {
                        format!("at `{stage}` somebody waits: the waits of `retry` may add up to {longest} at most")
                    }
                };
                self.error(&at.key("retry"), message);
            }
            if let Some(longest) = F::LONGEST_TIMEOUT.filter(|longest| *hook.timeout > *longest) {
                let longest = Period::of(longest);
                let message = format!("at `{}` somebody waits: the timeout may be {longest} at most", F::STAGE);
                self.error(&at.key("timeout"), message);
            }
        }
    }

    /// A use's plugin, which is an instance, or a kind with its default options.
    fn plugin_of(&mut self, at: &KeyPath, plugin: &str, stage: Stage, sections: &Sections) {
        let at = if self.document.get(&at.key("plugin")).is_some() { at.key("plugin") } else { at.clone() };
        let kinds = self.known.plugins;
        let instance = sections.plugin.get(plugin);
        if instance.is_none() && self.broken.touches(&KeyPath::of(["plugin", plugin])) {
            return;
        }
        let name = instance.map_or(plugin, |instance| instance.kind.as_str());
        let Some(kind) = kinds.iter().find(|kind| kind.name == name) else {
            if instance.is_none() {
                let known = sections.plugin.keys().map(String::as_str).chain(kinds.iter().map(|kind| kind.name));
                let help = near_or_all(plugin, known);
                self.error_with_help(&at, format!("there is no plugin `{plugin}`"), help);
            }
            // An instance of no plugin is told of where it is declared.
            return;
        };
        if !kind.stages.contains(&stage) {
            let serves = kind.stages.iter().map(|stage| format!("`{stage}`")).collect::<Vec<_>>().join(", ");
            let message = format!("the plugin `{}` cannot be used at `{stage}`", kind.name);
            return self.error_with_help(&at, message, Some(format!("it can be used at {serves}")));
        }
        if let Some(instance) = instance
            && let Some(message) = (kind.check_at)(&instance.options, stage)
        {
            let help = format!("use `{plugin}` at another stage, or declare another instance");
            return self.error_with_help(&at, format!("`{plugin}` cannot be used here: {message}"), Some(help));
        }
        if instance.is_none()
            && let Some(problem) = (kind.check)(&Options::new(), self.known.folder).into_iter().next()
        {
            let OptionProblem { option, message, .. } = problem;
            let message = format!("the plugin `{}` takes options: `{option}`: {message}", kind.name);
            let help = format!("declare it, `[plugin.NAME]` with `kind = \"{}\"`, and use it by that name", kind.name);
            self.error_with_help(&at, message, Some(help));
        }
    }

    /// What is owed is known by collection and plugin, so a plugin stands once among the follow-ups of a collection.
    fn one_use_of_each(&mut self, path: &KeyPath, collection: &CollectionSection) {
        let list = path.key(Stage::PostAssembly.as_str());
        let mut seen = BTreeSet::new();
        for (index, hook) in collection.post_assembly.iter().enumerate() {
            if !seen.insert(&hook.plugin) {
                let at = list.index(self.index_in_document(&list, index));
                let message = format!("`{}` stands in the list twice", hook.plugin);
                let help = "declare another `[plugin.NAME]` of the same kind, and use that one";
                self.error_with_help(&at, message, Some(help.to_owned()));
            }
        }
    }

    /// A file that is appended to is never announced, complete or published.
    pub(super) fn no_hooks(&mut self, path: &KeyPath, collection: &CollectionSection) {
        let used = [
            (Stage::Admit, collection.admit.is_empty()),
            (Stage::Validate, collection.validate.is_empty()),
            (Stage::PostAssembly, collection.post_assembly.is_empty()),
        ];
        for (stage, _) in used.into_iter().filter(|(_, is_empty)| !is_empty) {
            let message = match stage {
                Stage::Validate => {
                    "a file that is appended to cannot be checked before it is visible: `api.chunk_writer` takes no \
                     validation hooks"
                }
                Stage::Admit | Stage::PostAssembly => {
                    "a file that is appended to has neither beginning nor end: `api.chunk_writer` takes no hooks"
                }
            };
            self.error(&path.key(stage.as_str()), message);
        }
    }

    pub(super) fn plugin(&mut self, name: &str, plugin: &PluginConfig) {
        let path = KeyPath::of(["plugin", name]);
        let kinds: &[PluginKind] = self.known.plugins;
        let Some(kind) = kinds.iter().find(|kind| kind.name == plugin.kind) else {
            let message = format!("there is no plugin of the kind `{}`", plugin.kind);
            let help = near_or_all(&plugin.kind, kinds.iter().map(|kind| kind.name));
            return self.error_with_help(&path.key("kind"), message, help);
        };
        if self.broken.touches(&path) {
            return;
        }
        for OptionProblem { option, message, is_unknown } in (kind.check)(&plugin.options, self.known.folder) {
            let at = option.split('.').filter(|step| !step.is_empty()).fold(path.clone(), |path, step| path.key(step));
            match self.document.get(&at) {
                Some(_) if is_unknown => self.error_at_key(&at, message, None),
                Some(_) => self.error(&at, message),
                None => self.error_at_key(&path, format!("`{option}`: {message}"), None),
            }
        }
    }

    /// Elements that were refused are gone from the section, so that its numbers are not the document's.
    fn index_in_document(&self, array: &KeyPath, index: usize) -> usize {
        let is_there = |number: &usize| !self.broken.is_left_out(&array.index(*number));
        (0..).filter(is_there).nth(index).unwrap_or(index)
    }
}
