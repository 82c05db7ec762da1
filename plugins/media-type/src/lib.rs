#![doc = include_str!("../README.md")]

mod agreement;
mod config;
mod detect;
mod extension;
mod name;
mod named;
mod table;

use std::path::Path;

pub use config::Config;
use detect::HEAD;
use name::{Pattern, UNKNOWN};
use tidegate_plugin_sdk::{
    Build, ErrorKind, FileHandle, Issue, Metadata, OptionIssue, Plugin, PluginError, Validate, Verdict, async_trait,
    read_beginning,
};

/// As many entries of a list, and characters of a client's words, as a message shows.
const SHOWN_ENTRIES: usize = 20;
const SHOWN_CHARACTERS: usize = 100;

/// The check. It holds no state but its options.
#[derive(Debug)]
pub struct MediaType {
    config: Config,
    allow: Vec<Pattern>,
    deny: Vec<Pattern>,
}

#[async_trait]
impl Plugin for MediaType {}

impl Build for MediaType {
    const KIND: &'static str = "media-type";
    type Config = Config;

    fn check(config: &Config, _base: &Path) -> Vec<OptionIssue> {
        config.issues()
    }

    fn build(config: Config, _base: &Path) -> Result<Self, PluginError> {
        if let Some(issue) = config.issues().into_iter().next() {
            return Err(PluginError::permanent(ErrorKind::Config, format!("{}: {}", issue.option, issue.message)));
        }
        let read = |entries: &[String]| entries.iter().filter_map(|entry| Pattern::parse(entry)).collect();
        Ok(Self { allow: read(&config.allow), deny: read(&config.deny), config })
    }
}

#[async_trait]
impl Validate for MediaType {
    async fn validate(&self, file: &dyn FileHandle) -> Result<Verdict, PluginError> {
        let metadata = file.metadata();
        let wanted = usize::try_from(metadata.size).unwrap_or(HEAD).min(HEAD);
        let head = read_beginning(file, wanted).await?;
        let content = detect::detect(&head, metadata.size <= HEAD as u64);
        let claims = Claims::of(metadata);
        let issues: Vec<Issue> = [
            self.not_allowed(content, &claims),
            self.not_as_declared(content, &claims),
            self.not_as_named(content, &claims),
        ]
        .into_iter()
        .flatten()
        .collect();
        Ok(if issues.is_empty() { Verdict::Accept } else { Verdict::Reject(issues) })
    }
}

impl MediaType {
    fn not_allowed(&self, content: &str, claims: &Claims) -> Option<Issue> {
        let is_denied = |name: &str| self.deny.iter().any(|pattern| pattern.matches(name));
        let denied = [content].into_iter().chain(claims.possible(content)).find(|name| is_denied(name));
        let problem = if let Some(denied) = denied {
            match denied == content {
                true => format!("which is denied; {}", self.allowed()),
                false => format!("taken as {denied}, which is denied; {}", self.allowed()),
            }
        } else if !self.is_allowed(content, claims) {
            self.allowed()
        } else if let Some(running) = self.runs_unallowed(content, claims) {
            format!("to be run as {running}; {}", self.allowed())
        } else {
            return None;
        };
        let declared = claims.declared_in_words();
        Some(issue("media-type-not-allowed", format!("the content is {content} ({declared}), {problem}")))
    }

    fn is_allowed(&self, content: &str, claims: &Claims) -> bool {
        self.allow.is_empty()
            || self.allow.iter().any(|pattern| match pattern {
                Pattern::Beginning(_) => {
                    pattern.matches(content) || claims.media(content).any(|claim| pattern.matches(claim))
                }
                // A made-up `image/x` must not be let in by `image/*`, so what is only claimed must stand there in full.
                Pattern::Exact(name) => name == content || claims.certain(content).any(|claim| claim == name),
            })
    }

    /// What the file is run as by its name, where that is more than its content shows and is not allowed. No first bytes tell that a text
    /// is no page: a script may stand anywhere in it.
    fn runs_unallowed<'a>(&self, content: &str, claims: &'a Claims) -> Option<&'a str> {
        let running: Vec<&str> = claims.leading().filter(|claim| agreement::runs_beyond(content, claim)).collect();
        let is_allowed = |name: &&str| self.allow.is_empty() || self.allow.iter().any(|pattern| pattern.matches(name));
        running.first().copied().filter(|_| !claims.is_named(content) && !running.iter().any(is_allowed))
    }

    fn not_as_declared(&self, content: &str, claims: &Claims) -> Option<Issue> {
        let is_right = match &claims.declared {
            Declared::Nothing => true,
            Declared::Type(name) => agreement::agrees(content, name),
            Declared::Nonsense(_) => false,
        };
        (self.config.match_declared && !is_right).then(|| {
            let declared = claims.declared_in_words();
            issue("media-type-declared", format!("the content is {content}, but it was {declared}; {}", self.allowed()))
        })
    }

    fn not_as_named(&self, content: &str, claims: &Claims) -> Option<Issue> {
        let extension = claims.extension.as_deref()?;
        (self.config.match_extension && !extension::is_of(content, &claims.named)).then(|| {
            let expected = match claims.named.as_slice() {
                [] => "which no such file has".to_owned(),
                named => format!("which is for {}", named.join(", ")),
            };
            let extension = shown(extension);
            issue(
                "media-type-extension",
                format!(
                    "the content is {content} ({}), but the file's name ends in `.{extension}`, {expected}; {}",
                    claims.declared_in_words(),
                    self.allowed()
                ),
            )
        })
    }

    /// What is allowed, in words.
    fn allowed(&self) -> String {
        let entries = &self.config.allow;
        match entries.len() {
            0 if self.config.deny.is_empty() => "any type is allowed".to_owned(),
            0 => "any type that is not denied is allowed".to_owned(),
            1..=SHOWN_ENTRIES => format!("allowed is {}", entries.join(", ")),
            all => format!("allowed is {} and {} more", entries[..SHOWN_ENTRIES].join(", "), all - SHOWN_ENTRIES),
        }
    }
}

/// What the client declared.
enum Declared {
    Nothing,
    Type(String),
    Nonsense(String),
}

/// What is claimed of a content: by the client, and by the file's name.
struct Claims {
    declared: Declared,
    extension: Option<String>,
    /// The types of the extension.
    named: Vec<String>,
}

impl Claims {
    fn of(metadata: &Metadata) -> Self {
        let declared = match metadata.content_type.as_deref().map(str::trim) {
            None | Some("" | "*/*") => Declared::Nothing,
            Some(text) => match name::parse(text) {
                Some(name) if name == UNKNOWN => Declared::Nothing,
                Some(name) => Declared::Type(name),
                None => Declared::Nonsense(shown(text)),
            },
        };
        let extension = extension::of(&metadata.file_name);
        let named = extension.as_deref().map(extension::types).unwrap_or_default();
        Self { declared, extension, named }
    }

    /// The extension's types: the file is known by its name from now on. Where that says nothing, the declared one.
    fn leading(&self) -> impl Iterator<Item = &str> {
        let declared = self.declared().filter(|_| self.named.is_empty());
        self.named.iter().map(String::as_str).chain(declared)
    }

    fn declared(&self) -> Option<&str> {
        match &self.declared {
            Declared::Type(name) => Some(name),
            _ => None,
        }
    }

    /// Whether the extension is for what is seen. It leaves no doubt then, where first bytes tell the difference: an MP4 film in a `.mp4`
    /// is no sound, though sounds are called so, too.
    fn is_named(&self, content: &str) -> bool {
        self.named.iter().any(|name| name == content)
    }

    fn is_one(&self, content: &str, claim: &str) -> bool {
        agreement::counts_as(content, claim) || (!self.is_named(content) && agreement::are_family(content, claim))
    }

    /// What a content that is seen to be `content` counts as beside that.
    fn certain(&self, content: &str) -> impl Iterator<Item = &str> {
        self.leading().filter(move |claim| self.is_one(content, claim))
    }

    /// As what other medium a medium counts by its name: MP4 in a `.m4a` is a sound, whatever brand it bears.
    fn media(&self, content: &str) -> impl Iterator<Item = &str> {
        let names = self.named.iter().map(String::as_str).filter(|_| agreement::is_medium(content));
        names.filter(move |name| agreement::is_medium(name) && self.is_one(content, name))
    }

    /// What it may be beside that, for all that can be known.
    fn possible(&self, content: &str) -> impl Iterator<Item = &str> {
        let can_be =
            move |claim: &str| !self.is_named(content) && claim != UNKNOWN && agreement::agrees(content, claim);
        let declared = self.declared().filter(move |claim| agreement::counts_as(content, claim));
        self.leading().filter(move |claim| self.is_one(content, claim) || can_be(claim)).chain(declared)
    }

    fn declared_in_words(&self) -> String {
        match &self.declared {
            Declared::Nothing => "nothing was declared".to_owned(),
            Declared::Type(name) => format!("declared as {name}"),
            Declared::Nonsense(text) => format!("declared as `{text}`, which is no media type"),
        }
    }
}

fn issue(code: &str, message: String) -> Issue {
    Issue { path: String::new(), code: code.to_owned(), message }
}

/// A client's words, as they can stand in a message.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARACTERS).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::named::NAMED;
    use crate::table::TOLD;

    fn check(allow: &[&str], deny: &[&str]) -> MediaType {
        let owned = |entries: &[&str]| entries.iter().map(|entry| (*entry).to_owned()).collect();
        let config = Config { allow: owned(allow), deny: owned(deny), ..Config::default() };
        assert_eq!(MediaType::check(&config, Path::new(".")), []);
        MediaType::build(config, Path::new(".")).unwrap()
    }

    fn named(extension: &str) -> Claims {
        Claims::of(&Metadata::new("files", "", format!("a.{extension}"), 0))
    }

    /// Whether the entry takes and refuses files with such contents and names, each as its list has it.
    fn works(entry: &str, content: &str, extension: &str) -> bool {
        let claims = named(extension);
        let is_refused = |check: MediaType| check.not_allowed(content, &claims).is_some();
        !is_refused(check(&[entry], &[])) && is_refused(check(&[], &[entry]))
    }

    #[test]
    fn each_name_in_the_tables_works_as_an_entry_with_each_extension_of_its_type() {
        for named in NAMED {
            for entry in named.aliases.iter().chain([&named.name]) {
                assert!(!named.extensions.is_empty());
                for extension in named.extensions {
                    assert!(works(entry, named.base, extension), "{entry} .{extension}");
                }
            }
        }
        for told in TOLD {
            for entry in told.aliases.iter().chain([&told.name]) {
                assert!(!told.extensions.is_empty());
                for extension in told.extensions {
                    assert!(works(entry, told.name, extension), "{entry} .{extension}");
                }
            }
        }
    }

    /// So no file that is taken without a list would be refused for how its type came about.
    #[test]
    fn each_type_in_the_tables_agrees_with_what_its_files_are_seen_to_be() {
        let told = TOLD.iter().map(|told| (told.name, told.name, told.extensions));
        for (content, name, extensions) in
            NAMED.iter().map(|named| (named.base, named.name, named.extensions)).chain(told)
        {
            assert!(agreement::agrees(content, name), "{name}");
            assert!(extensions.iter().all(|extension| extension::is_of(content, &named(extension).named)), "{name}");
        }
    }
}
