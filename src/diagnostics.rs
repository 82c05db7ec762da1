//! What is said about the configuration, and where: key paths, the places that values were written at, and diagnostics at
//! them, for people and as JSON (a leaf). Finding what is wrong is the work of `config` and of those who own a section.

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// Whether the name of an option says that its value is nobody's business. Such values are never printed or logged.
pub fn is_secret_name(name: &str) -> bool {
    const PARTS: [&str; 7] = ["key", "secret", "token", "password", "passwd", "passphrase", "credential"];
    let name = name.to_ascii_lowercase();
    PARTS.iter().any(|part| name.contains(part)) || name.split(['_', '-']).any(|word| word == "sas")
}

/// The known name that is most like `given`, if one is like it at all: of three letters one may differ, and never all.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&given.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= name.chars().count().max(3) / 3 && *distance < given.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// One step on the way to a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    Key(String),
    Index(usize),
}

/// The way to a value, as `collection.societes.validate[1].plugin`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct KeyPath(Vec<Step>);

impl KeyPath {
    /// Of keys alone.
    pub fn of<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        Self(keys.into_iter().map(|key| Step::Key(key.to_owned())).collect())
    }

    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.step(Step::Key(key.to_owned()))
    }

    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.step(Step::Index(index))
    }

    #[must_use]
    pub fn step(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    pub fn parent(&self) -> Option<Self> {
        let (_, parent) = self.0.split_last()?;
        Some(Self(parent.to_vec()))
    }

    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The last key on the way: of an element of an array, the array's.
    pub fn last_key(&self) -> Option<&str> {
        self.0.iter().rev().find_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        })
    }

    pub fn starts_with(&self, start: &KeyPath) -> bool {
        self.0.starts_with(&start.0)
    }

    /// Itself, then the path of what holds it, and so on up to the whole document.
    pub fn and_ancestors(&self) -> impl Iterator<Item = KeyPath> {
        (0..=self.0.len()).rev().map(|length| KeyPath(self.0[..length].to_vec()))
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(formatter, "[{index}]")?,
                Step::Key(key) => {
                    if number > 0 {
                        formatter.write_char('.')?;
                    }
                    match is_bare(key) {
                        true => formatter.write_str(key)?,
                        false => write!(formatter, "{key:?}")?,
                    }
                }
            }
        }
        Ok(())
    }
}

impl Serialize for KeyPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Whether TOML takes a key without quotes.
fn is_bare(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// A text that values were read from.
#[derive(Debug)]
pub struct Source {
    /// As people know it: the path that they gave.
    pub name: String,
    pub text: String,
    /// Where secrets stand.
    hidden: Vec<Range<usize>>,
}

impl Source {
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into(), hidden: Vec::new() }
    }

    /// Has what stands at `span` never be shown.
    pub fn hide(&mut self, span: Range<usize>) {
        self.hidden.push(span);
    }

    /// Line and column of a byte, both from 1, columns in characters.
    fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = String::from_utf8_lossy(&before[self.line_start(offset)..]).chars().count() + 1;
        (line, column)
    }

    fn line_start(&self, offset: usize) -> usize {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1)
    }

    /// The line of a byte as it may be shown: without its secrets, and without characters that move the cursor.
    fn shown_line(&self, offset: usize) -> String {
        let start = self.line_start(offset);
        let line = self.text[start..].split(['\n', '\r']).next().unwrap_or_default();
        let parsed = self.hidden.iter().filter(|span| span.start < start + line.len() && start < span.end);
        let cut = parsed.map(|span| span.start.saturating_sub(start)).chain(secret_assignment(line)).min();
        let shown = match cut {
            Some(cut) => format!("{} …", line.get(..cut).unwrap_or_default().trim_end()),
            None => line.to_owned(),
        };
        shown.chars().map(|c| if c == '\t' { ' ' } else { c }).filter(|c| !c.is_control()).collect()
    }
}

/// Where in a line the value of an option with a secret name begins, also where the text does not parse.
fn secret_assignment(line: &str) -> Option<usize> {
    line.match_indices('=').map(|(at, _)| at).find_map(|at| {
        let before = line[..at].trim_end().trim_end_matches(['"', '\'']);
        let name_start = before.rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-'));
        let name = &before[name_start.map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8))..];
        is_secret_name(name).then_some(at + 1)
    })
}

/// Where a value comes from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// Nobody wrote it.
    Default,
    File {
        source: Arc<Source>,
        span: Range<usize>,
    },
    /// An environment variable.
    Variable(String),
    /// A flag of the command line, as it is written there.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => formatter.write_str("default"),
            Origin::File { source, span } => {
                let (line, column) = source.line_and_column(span.start);
                write!(formatter, "{}:{line}:{column}", source.name)
            }
            Origin::Variable(name) => write!(formatter, "environment variable {name}"),
            Origin::Flag(flag) => write!(formatter, "flag {flag}"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
}

/// One thing that is said about the configuration.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    pub severity: Severity,
    /// What it is about; the empty path for the whole.
    pub key: KeyPath,
    pub origin: Origin,
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Diagnostic {
    pub fn error(key: KeyPath, origin: Origin, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, key, origin, message: message.into(), help: None }
    }

    pub fn warning(key: KeyPath, origin: Origin, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(key, origin, message) }
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The file, with line and column from 1, for what stands in one.
    pub fn position(&self) -> Option<(&str, usize, usize)> {
        match &self.origin {
            Origin::File { source, span } => {
                let (line, column) = source.line_and_column(span.start);
                Some((&source.name, line, column))
            }
            _ => None,
        }
    }
}

/// For people: severity and message, the place, the line with what is meant underlined, the help.
impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        writeln!(formatter, "{severity}: {}", self.message)?;
        let mut margin = String::from(" ");
        match &self.origin {
            Origin::File { source, span } => {
                let (line, column) = source.line_and_column(span.start);
                margin = " ".repeat(line.to_string().len());
                let shown = source.shown_line(span.start);
                let meant = source.text.get(span.clone()).unwrap_or_default().lines().next().unwrap_or_default();
                let room = shown.chars().count().saturating_sub(column - 1);
                let carets = "^".repeat(meant.chars().count().min(room).max(1));
                writeln!(formatter, "{margin}--> {}:{line}:{column}", source.name)?;
                writeln!(formatter, "{margin} |")?;
                writeln!(formatter, "{line} | {shown}")?;
                writeln!(formatter, "{margin} | {}{carets}", " ".repeat((column - 1).min(shown.chars().count())))?;
            }
            Origin::Default if self.key == KeyPath::default() => {}
            Origin::Default => writeln!(formatter, "{margin}--> {} (by default)", self.key)?,
            elsewhere => writeln!(formatter, "{margin}--> {elsewhere}")?,
        }
        if let Some(help) = &self.help {
            writeln!(formatter, "{margin} = help: {help}")?;
        }
        Ok(())
    }
}

/// As JSON: `severity`, `file`, `line`, `column`, `origin` (where it is no file), `key`, `message`, `help`.
impl Serialize for Diagnostic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shape<'a> {
            severity: Severity,
            file: Option<&'a str>,
            line: Option<usize>,
            column: Option<usize>,
            origin: Option<String>,
            key: Option<&'a KeyPath>,
            message: &'a str,
            help: Option<&'a str>,
        }
        let position = self.position();
        let shape = Shape {
            severity: self.severity,
            file: position.map(|(file, _, _)| file),
            line: position.map(|(_, line, _)| line),
            column: position.map(|(_, _, column)| column),
            origin: position.is_none().then(|| self.origin.to_string()),
            key: (!self.key.steps().is_empty()).then_some(&self.key),
            message: &self.message,
            help: self.help.as_deref(),
        };
        shape.serialize(serializer)
    }
}

/// All that is said in one run, in the order of the file.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(transparent)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.0.iter()
    }

    pub fn retain(&mut self, keep: impl FnMut(&Diagnostic) -> bool) {
        self.0.retain(keep);
    }

    pub fn count(&self, severity: Severity) -> usize {
        self.0.iter().filter(|diagnostic| diagnostic.severity == severity).count()
    }

    /// In the order of the file; what stands elsewhere comes after it, by name.
    pub fn sort(&mut self) {
        self.0.sort_by_cached_key(|diagnostic| match &diagnostic.origin {
            Origin::File { span, .. } => (0, span.start, String::new()),
            Origin::Variable(name) => (1, 0, name.clone()),
            Origin::Flag(flag) => (2, 0, flag.clone()),
            Origin::Default => (3, 0, String::new()),
        });
    }

    /// Takes values that nobody may see out of messages that quote them.
    pub fn redact<'a>(&mut self, secrets: impl IntoIterator<Item = &'a str>) {
        for secret in secrets.into_iter().filter(|secret| !secret.is_empty()) {
            for diagnostic in &mut self.0 {
                diagnostic.message = diagnostic.message.replace(secret, "…");
                diagnostic.help = diagnostic.help.take().map(|help| help.replace(secret, "…"));
            }
        }
    }
}

/// For people: each with an empty line after it, then how many there are.
impl fmt::Display for Diagnostics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return Ok(());
        }
        for diagnostic in &self.0 {
            writeln!(formatter, "{diagnostic}")?;
        }
        let counted = |count: usize, what: &str| match count {
            0 => None,
            1 => Some(format!("1 {what}")),
            _ => Some(format!("{count} {what}s")),
        };
        let counts = [counted(self.count(Severity::Error), "error"), counted(self.count(Severity::Warning), "warning")];
        writeln!(formatter, "{}", counts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, what: &str) -> Origin {
        let start = text.find(what).unwrap();
        let source = Arc::new(Source::new("config.toml", text));
        Origin::File { source, span: start..start + what.len() }
    }

    #[test]
    fn shows_place_line_and_help() {
        let text = "# é\n[server]\n  lisen = [\"é:1\"]\n";
        let diagnostic = Diagnostic::error(KeyPath::of(["server", "lisen"]), at(text, "lisen"), "unknown key `lisen`")
            .help("say `listen`");
        assert_eq!(
            diagnostic.to_string(),
            "error: unknown key `lisen`\n --> config.toml:3:3\n  |\n3 |   lisen = [\"é:1\"]\n  |   ^^^^^\n  = help: say `listen`\n"
        );
        let json = serde_json::to_value(&diagnostic).unwrap();
        assert_eq!((json["line"].as_u64(), json["column"].as_u64()), (Some(3), Some(3)));
        assert_eq!(json["key"], "server.lisen");
    }

    #[test]
    fn columns_count_characters() {
        let text = "é = \"ü\" # x\n";
        assert_eq!(Diagnostic::error(KeyPath::default(), at(text, "x"), "").position(), Some(("config.toml", 1, 11)));
    }

    #[test]
    fn a_line_is_cut_before_its_secret() {
        for text in [
            "secret_access_key = \"hunter2\"",
            "s = { \"session_token\" = 'hunter2' }",
            "x = {é=1, password=\"hunter2\", root = 1}",
            "password = \"hunter2",
        ] {
            let shown = Diagnostic::error(KeyPath::default(), at(text, "="), "").to_string();
            assert!(!shown.contains("hunter2"), "{shown}");
        }
        let text = "a = 'x'\nb = \"\"\"one\nhunter2\"\"\"\n";
        let mut source = Source::new("f", text);
        source.hide(12..text.len());
        assert_eq!(source.shown_line(text.find("hunter2").unwrap()), " …");
        assert_eq!(source.shown_line(9), "b = …");
    }

    #[test]
    fn paths_read_as_they_are_written() {
        let path = KeyPath::of(["collection", "my files", "validate"]).index(1).key("plugin");
        assert_eq!(path.to_string(), "collection.\"my files\".validate[1].plugin");
        assert_eq!(path.parent().unwrap().parent().unwrap().last_key(), Some("validate"));
    }

    #[test]
    fn names_what_is_near_and_nothing_far() {
        let known = ["listen", "allowed_origins", "path"];
        assert_eq!(nearest("lisen", known), Some("listen"));
        assert_eq!(nearest("Listen", known), Some("listen"));
        assert_eq!(nearest("allowed_origin", known), Some("allowed_origins"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("xy", known), None);
        assert_eq!(nearest("d", ["a", "b"]), None);
    }
}
