//! Names of media types: how they are read, and which of them are one type.

use crate::named::NAMED;
use crate::table::TOLD;

/// What RFC 6838 §4.2 lets a name be at most, on each side of the slash.
const LONGEST: usize = 127;

pub const UNKNOWN: &str = "application/octet-stream";

/// The name that this check uses for the media type in `text`, whose parameters are left out. `None` where it is none.
pub fn parse(text: &str) -> Option<String> {
    let name = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let (top, rest) = name.split_once('/')?;
    (is_restricted_name(top) && is_restricted_name(rest)).then(|| canonical(&name).to_owned())
}

/// The name that this check uses for the type `name`, which is in lower case.
pub fn canonical(name: &str) -> &str {
    spellings().find(|(_, aliases)| aliases.contains(&name)).map_or(name, |(own, _)| own)
}

/// The other names of the type that this check calls `name`.
pub fn aliases(name: &str) -> &'static [&'static str] {
    spellings().find(|(own, _)| *own == name).map_or(&[], |(_, aliases)| aliases)
}

fn spellings() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    let told = TOLD.iter().map(|told| (told.name, told.aliases));
    told.chain(NAMED.iter().map(|named| (named.name, named.aliases)))
}

/// Whether the first bytes can tell this type.
pub fn is_told(name: &str) -> bool {
    TOLD.iter().any(|told| told.name == name)
}

fn is_restricted_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
    name.len() <= LONGEST
        && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && name.bytes().all(is_allowed)
}

/// An entry of a list of types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// All that begin so: `image/`, or nothing for `*/*`.
    Beginning(String),
    Exact(String),
}

impl Pattern {
    pub fn parse(text: &str) -> Option<Self> {
        if text == "*/*" {
            return Some(Self::Beginning(String::new()));
        }
        if let Some(top) = text.strip_suffix("/*") {
            return is_restricted_name(top).then(|| Self::Beginning(format!("{}/", top.to_ascii_lowercase())));
        }
        // A parameter would be ignored, and whoever writes one means it.
        if text.contains(';') {
            return None;
        }
        parse(text).map(Self::Exact)
    }

    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Beginning(beginning) => name.starts_with(beginning),
            Self::Exact(exact) => name == exact,
        }
    }

    /// Whether all that `other` matches is matched.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Beginning(_), Self::Beginning(name) | Self::Exact(name)) => self.matches(name),
            (Self::Exact(_), Self::Exact(name)) => self.matches(name),
            (Self::Exact(_), Self::Beginning(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_without_case_parameters_and_aliases() {
        for (text, name) in [
            ("image/png", "image/png"),
            (" Image/JPG ; q=1", "image/jpeg"),
            ("text/html; charset=utf-8", "text/html"),
            ("audio/x-wav", "audio/wav"),
            ("application/vnd.example+json", "application/vnd.example+json"),
        ] {
            assert_eq!(parse(text).as_deref(), Some(name), "{text}");
        }
    }

    #[test]
    fn what_is_no_media_type_is_refused() {
        for text in ["", "png", "image/", "/png", "image/*", "image/a b", "image/png/x", "-a/b", "image, text/html"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(&format!("a/{}", "b".repeat(LONGEST + 1))), None);
    }

    #[test]
    fn a_pattern_covers_what_it_matches() {
        let pattern = |text| Pattern::parse(text).unwrap();
        assert!(pattern("image/*").matches("image/png") && !pattern("image/*").matches("imagery/png"));
        assert!(pattern("*/*").covers(&pattern("image/*")) && pattern("image/*").covers(&pattern("image/png")));
        assert!(!pattern("image/png").covers(&pattern("image/*")) && pattern("image/jpg").matches("image/jpeg"));
        for text in ["*", "*/png", "image/p*", "text/plain; charset=utf-8", "/*"] {
            assert_eq!(Pattern::parse(text), None, "{text}");
        }
    }

    #[test]
    fn each_name_of_the_tables_stands_there_once() {
        let mut names: Vec<&str> =
            spellings().flat_map(|(own, aliases)| aliases.iter().copied().chain([own])).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(names.iter().all(|name| parse(name).is_some()));
    }
}
