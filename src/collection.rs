//! What a collection is: a named place that files are sent to. Plain data, checked by `config`, read by
//! everyone (a leaf).

use std::sync::Arc;
use std::time::Duration;

use globset::GlobMatcher;

/// `[collection.NAME]`, checked and resolved.
#[derive(Debug, Clone)]
pub struct Collection {
    pub name: Arc<str>,
    /// Name of the `[storage.NAME]` that its files are published to.
    pub storage: Arc<str>,
    pub path: PathTemplate,
    /// Without its dot. Files with another extension are none of this collection: they are refused on the way in, and
    /// left alone where other programs put them into its storage. `None`: every name will do.
    pub extension: Option<Arc<str>>,
    /// Bytes; a larger file is refused with 413 as early as it is known.
    pub max_file_size: u64,
    /// Whether each file's SHA-256 is computed and kept (CRC-64/NVME always is).
    pub sha256: bool,
    pub verify: Verify,
    /// Hooks that say, in this order, whether a file may be sent.
    pub admit: Vec<HookUse<OnAdmitFailure>>,
    /// Hooks that say, in this order, whether a file may become visible.
    pub validate: Vec<HookUse<OnCheckFailure>>,
    /// Hooks that are owed to each file that was published. None names the same plugin as another.
    pub post_assembly: Vec<HookUse<OnFollowUpFailure>>,
}

impl Collection {
    /// Whether a file of this name can be one of this collection.
    pub fn takes(&self, file_name: &str) -> bool {
        let Some(extension) = &self.extension else { return true };
        file_name
            .strip_suffix(&**extension)
            .and_then(|rest| rest.strip_suffix('.'))
            .is_some_and(|stem| !stem.is_empty())
    }

    /// The plugins that are owed a run when a file of this name is published.
    pub fn follow_ups(&self, file_name: &str) -> Vec<Arc<str>> {
        let uses = self.post_assembly.iter().filter(|hook| hook.is_for(file_name));
        uses.map(|hook| hook.plugin.clone()).collect()
    }

    /// The use of a plugin after publication.
    pub fn follow_up(&self, plugin: &str) -> Option<&HookUse<OnFollowUpFailure>> {
        self.post_assembly.iter().find(|hook| *hook.plugin == *plugin)
    }
}

/// How publication convinces itself of what it stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verify {
    /// The storage's own answer is believed.
    #[default]
    Off,
    /// The published object is read once more and its CRC compared before the upload is `stored`.
    ReadBack,
}

/// One use of a plugin by a collection. What a failure means is of another kind at each stage.
#[derive(Debug, Clone)]
pub struct HookUse<F> {
    /// The plugin's instance name, as `json`.
    pub plugin: Arc<str>,
    /// The names of the files that it is for; `None`: all.
    pub files: Option<GlobMatcher>,
    /// How long one call may take; past it the use counts as failed.
    pub timeout: Duration,
    /// The waits before it is tried again where it failed in a way that a retry may mend; one attempt more than there are waits.
    pub retry: Arc<[Duration]>,
    pub on_failure: F,
}

impl<F> HookUse<F> {
    pub fn is_for(&self, file_name: &str) -> bool {
        self.files.as_ref().is_none_or(|files| files.is_match(file_name))
    }
}

/// What becomes of a file of which a plugin could not say whether it may be sent: it crashed, ran out of time, or said that it cannot
/// tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnAdmitFailure {
    #[default]
    Deny,
}

/// What becomes of a file that a plugin could not check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnCheckFailure {
    #[default]
    Reject,
    /// As if the plugin had found nothing wrong.
    Accept,
}

/// What becomes of a follow-up whose last attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFollowUpFailure {
    /// It is kept, for an operator to look at, retry or discard.
    #[default]
    DeadLetter,
    /// The log tells of it, and nothing is kept.
    Drop,
}

/// A path under the storage's root with `{placeholders}`, as `"{tenant}/{file_name}"`.
///
/// Placeholders: `{tenant}`, `{file_name}`, `{stem}` (the name up to its last dot), `{ext}` (from the last
/// dot on, with it; empty without one), `{session_id}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Placeholder(Placeholder),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placeholder {
    Tenant,
    FileName,
    Stem,
    Ext,
    SessionId,
}

impl Placeholder {
    pub const ALL: [(&'static str, Placeholder); 5] = [
        ("tenant", Placeholder::Tenant),
        ("file_name", Placeholder::FileName),
        ("stem", Placeholder::Stem),
        ("ext", Placeholder::Ext),
        ("session_id", Placeholder::SessionId),
    ];
}

/// What a template's placeholders stand for in one upload. The values have gone through [`crate::name`].
#[derive(Debug, Clone, Copy, Default)]
pub struct PathValues<'a> {
    pub tenant: &'a str,
    pub file_name: &'a str,
    pub session_id: &'a str,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("a path template must not be empty")]
    Empty,
    #[error("`{0}` is not closed: write `{{name}}`")]
    Unclosed(String),
    #[error("`{{{0}}}` is no placeholder; there are {{tenant}}, {{file_name}}, {{stem}}, {{ext}} and {{session_id}}")]
    Unknown(String),
    #[error("a path template is relative, with `/` between its parts, and has no empty, `.` or `..` part")]
    NotRelative,
}

impl PathTemplate {
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.is_empty() {
            return Err(TemplateError::Empty);
        }
        if text.contains('\\') || text.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(TemplateError::NotRelative);
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            if open > 0 {
                pieces.push(Piece::Literal(rest[..open].to_owned()));
            }
            let inner = &rest[open + 1..];
            let close = inner.find('}').ok_or_else(|| TemplateError::Unclosed(rest[open..].to_owned()))?;
            let name = &inner[..close];
            let placeholder = Placeholder::ALL
                .iter()
                .find(|(known, _)| *known == name)
                .ok_or_else(|| TemplateError::Unknown(name.to_owned()))?
                .1;
            pieces.push(Piece::Placeholder(placeholder));
            rest = &inner[close + 1..];
        }
        if !rest.is_empty() {
            pieces.push(Piece::Literal(rest.to_owned()));
        }
        Ok(Self { text: text.to_owned(), pieces })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn uses(&self, placeholder: Placeholder) -> bool {
        self.pieces.contains(&Piece::Placeholder(placeholder))
    }

    /// The path under the storage's root, without a leading `/`.
    pub fn render(&self, values: PathValues<'_>) -> String {
        let (stem, ext) = split_extension(values.file_name);
        let mut path = String::with_capacity(self.text.len() + values.file_name.len() + values.tenant.len());
        for piece in &self.pieces {
            path.push_str(match piece {
                Piece::Literal(literal) => literal,
                Piece::Placeholder(Placeholder::Tenant) => values.tenant,
                Piece::Placeholder(Placeholder::FileName) => values.file_name,
                Piece::Placeholder(Placeholder::Stem) => stem,
                Piece::Placeholder(Placeholder::Ext) => ext,
                Piece::Placeholder(Placeholder::SessionId) => values.session_id,
            });
        }
        path
    }

    /// Whether a path says tenant and file name by itself, so that files which other programs put into the
    /// storage can be taken up: `{tenant}/{file_name}`, under any literal prefix that ends in `/`.
    pub fn adopts(&self) -> Option<&str> {
        let prefix = self.text.strip_suffix("{tenant}/{file_name}")?;
        (!prefix.contains('{')).then(|| prefix.trim_end_matches('/'))
    }
}

/// `("comptes_2024", ".json")`; a name that only starts with a dot has no extension.
fn split_extension(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 => name.split_at(dot),
        _ => (name, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_another_extension_are_not_taken() {
        let mut collection = Collection {
            name: "societes".into(),
            storage: "files".into(),
            path: PathTemplate::parse("{tenant}/{file_name}").unwrap(),
            extension: None,
            max_file_size: 1,
            sha256: false,
            verify: Verify::Off,
            admit: Vec::new(),
            validate: Vec::new(),
            post_assembly: Vec::new(),
        };
        assert!(collection.takes("a.csv"));
        collection.extension = Some("json".into());
        for (name, is_taken) in [
            ("a.json", true),
            ("a.b.json", true),
            (".json", false),
            ("json", false),
            ("ajson", false),
            ("a.JSON", false),
        ] {
            assert_eq!(collection.takes(name), is_taken, "{name}");
        }
    }

    #[test]
    fn renders_every_placeholder() {
        let template = PathTemplate::parse("largefiles/{stem}_{session_id}{ext}").unwrap();
        let path = template.render(PathValues { tenant: "", file_name: "été.tar.gz", session_id: "7" });
        assert_eq!(path, "largefiles/été.tar_7.gz");
        let template = PathTemplate::parse("{tenant}/{file_name}").unwrap();
        assert_eq!(template.render(PathValues { tenant: "t", file_name: "f", session_id: "" }), "t/f");
    }

    #[test]
    fn says_which_paths_name_tenant_and_file() {
        assert_eq!(PathTemplate::parse("{tenant}/{file_name}").unwrap().adopts(), Some(""));
        assert_eq!(PathTemplate::parse("in/{tenant}/{file_name}").unwrap().adopts(), Some("in"));
        assert_eq!(PathTemplate::parse("largefiles/{file_name}").unwrap().adopts(), None);
    }

    #[test]
    fn refuses_what_is_no_relative_template() {
        for bad in ["", "/a", "a//b", "../a", "a/./b", "a\\b", "{tenant", "{nobody}"] {
            assert!(PathTemplate::parse(bad).is_err(), "{bad}");
        }
    }
}
