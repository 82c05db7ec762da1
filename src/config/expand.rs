//! `${VAR}`, `${VAR:-default}` and `${file:/path}` inside a string of the file, after it was parsed: what is put in can
//! never become syntax. `$${` stands for a plain `${`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What strings are filled from.
pub struct Surroundings<'a> {
    pub variables: &'a BTreeMap<String, String>,
    /// Relative paths of `${file:…}` count from here.
    pub folder: &'a Path,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expanded {
    pub text: String,
    /// Something was put in; where all is text, a number may have been meant.
    pub filled: bool,
    /// Something out of a file was put in.
    pub secret: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    #[error("`${{` is not closed: write `${{NAME}}`, or `$${{` for the characters themselves")]
    Unclosed,
    #[error("`${{{0}}}` names no environment variable: write `${{NAME}}`, `${{NAME:-default}}` or `${{file:/path}}`")]
    NoName(String),
    #[error("the environment variable `{0}` is not set: set it, or write `${{{0}:-default}}`")]
    NotSet(String),
    #[error("could not read the file `{path}`: {reason}")]
    File { path: String, reason: String },
}

impl Surroundings<'_> {
    pub fn expand(&self, text: &str) -> Result<Expanded, ExpandError> {
        let mut expanded = Expanded { text: String::with_capacity(text.len()), filled: false, secret: false };
        let mut rest = text;
        while let Some(open) = rest.find("${") {
            let escaped = rest[..open].ends_with('$');
            expanded.text.push_str(&rest[..open - usize::from(escaped)]);
            rest = &rest[open + "${".len()..];
            if escaped {
                expanded.text.push_str("${");
                continue;
            }
            let close = rest.find('}').ok_or(ExpandError::Unclosed)?;
            let inner = &rest[..close];
            match inner.strip_prefix("file:") {
                Some(path) => {
                    expanded.text.push_str(&self.read(path)?);
                    expanded.secret = true;
                }
                None => expanded.text.push_str(self.variable(inner)?),
            }
            expanded.filled = true;
            rest = &rest[close + 1..];
        }
        expanded.text.push_str(rest);
        Ok(expanded)
    }

    /// As in a shell: the default of `:-` stands for a variable that is empty, too.
    fn variable<'a>(&'a self, inner: &'a str) -> Result<&'a str, ExpandError> {
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        if !is_variable_name(name) {
            return Err(ExpandError::NoName(inner.to_owned()));
        }
        match (self.variables.get(name), default) {
            (Some(value), None) => Ok(value),
            (Some(value), Some(_)) if !value.is_empty() => Ok(value),
            (_, Some(default)) => Ok(default),
            (None, None) => Err(ExpandError::NotSet(name.to_owned())),
        }
    }

    /// Without the newline at the end, which editors put there.
    fn read(&self, path: &str) -> Result<String, ExpandError> {
        let content = fs::read_to_string(self.folder.join(path))
            .map_err(|error| ExpandError::File { path: path.to_owned(), reason: error.to_string() })?;
        let content = content.strip_suffix('\n').unwrap_or(&content);
        Ok(content.strip_suffix('\r').unwrap_or(content).to_owned())
    }
}

fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> Result<String, ExpandError> {
        let variables = [("HOME", "/home/a"), ("EMPTY", ""), ("SLY", "\"\nlisten = []${HOME}")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let surroundings = Surroundings { variables: &variables, folder: Path::new("/") };
        surroundings.expand(text).map(|expanded| expanded.text)
    }

    #[test]
    fn fills_variables_and_defaults() {
        for (text, expected) in [
            ("plain $5", "plain $5"),
            ("${HOME}/data", "/home/a/data"),
            ("${HOME}${HOME}", "/home/a/home/a"),
            ("${NONE:-data}", "data"),
            ("${NONE:-}", ""),
            ("${EMPTY:-data}", "data"),
            ("${EMPTY}", ""),
            ("$${HOME}", "${HOME}"),
            ("é${HOME}é", "é/home/aé"),
        ] {
            assert_eq!(expand(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_put_in_is_not_looked_into() {
        assert_eq!(expand("${SLY}").as_deref(), Ok("\"\nlisten = []${HOME}"));
    }

    #[test]
    fn says_what_is_missing() {
        assert_eq!(expand("${NONE}"), Err(ExpandError::NotSet("NONE".to_owned())));
        assert_eq!(expand("${HOME"), Err(ExpandError::Unclosed));
        assert_eq!(expand("${}"), Err(ExpandError::NoName(String::new())));
        assert_eq!(expand("${A B}"), Err(ExpandError::NoName("A B".to_owned())));
        assert!(matches!(expand("${file:no/such}"), Err(ExpandError::File { .. })));
    }

    #[test]
    fn a_file_is_read_from_beside_the_configuration_and_is_secret() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("password"), "hunter2\r\n").unwrap();
        let surroundings = Surroundings { variables: &BTreeMap::new(), folder: folder.path() };
        let expanded = surroundings.expand("u:${file:password}").unwrap();
        assert_eq!(expanded, Expanded { text: "u:hunter2".to_owned(), filled: true, secret: true });
    }
}
