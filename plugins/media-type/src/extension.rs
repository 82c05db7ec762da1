//! Extensions: what the end of a file's name says of its type.

use std::path::Path;

use crate::agreement::{agrees, has_any_extension};
use crate::name::{aliases, is_told, parse};
use crate::named::{self, NAMED};
use crate::table::{OTHER_TYPES, TOLD};

/// The extension of a name, in lower case. Windows leaves out dots and blanks at the end, so they hide nothing here.
pub fn of(file_name: &str) -> Option<String> {
    let name = file_name.trim_end_matches([' ', '.']);
    let extension = Path::new(name).extension()?.to_str()?;
    (!extension.is_empty()).then(|| extension.to_lowercase())
}

/// The types of files with this extension; none where nobody knows it.
pub fn types(extension: &str) -> Vec<String> {
    let told = TOLD.iter().filter(|told| told.extensions.contains(&extension)).map(|told| told.name);
    let named = NAMED.iter().filter(|named| named.extensions.contains(&extension)).map(|named| named.name);
    let other = OTHER_TYPES.iter().filter(|(known, _)| *known == extension).map(|(_, name)| *name);
    let types: Vec<String> = told.chain(named).chain(other).map(str::to_owned).collect();
    if !types.is_empty() {
        return types;
    }
    mime_guess::from_ext(extension).iter_raw().filter_map(parse).collect()
}

/// Whether an extension is known that stands for the type `name`.
pub fn stands_for(name: &str) -> bool {
    let spellings = aliases(name).iter().copied().chain([name]);
    let mut guessed = spellings.filter_map(mime_guess::get_mime_extensions_str).flatten();
    is_told(name)
        || named::find(name).is_some()
        || guessed.any(|extension| types(extension).iter().any(|of| of == name))
}

/// Whether a file with this content can have an extension of these types.
pub fn is_of(content: &str, types: &[String]) -> bool {
    if types.is_empty() { has_any_extension(content) } else { types.iter().any(|name| agrees(content, name)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_is_the_last_one() {
        for (name, extension) in [
            ("a.PDF", Some("pdf")),
            ("archive.tar.gz", Some("gz")),
            ("invoice.pdf.exe. . ", Some("exe")),
            (".gitignore", None),
            ("README", None),
            ("a.", None),
            ("", None),
        ] {
            assert_eq!(of(name).as_deref(), extension, "{name}");
        }
    }

    #[test]
    fn an_extension_that_first_bytes_can_tell_is_of_that_alone() {
        assert_eq!(types("exe"), ["application/vnd.microsoft.portable-executable"]);
        assert_eq!(types("csv"), ["text/csv"]);
        assert_eq!(types("docm"), ["application/vnd.ms-word.document.macroenabled.12"]);
        assert!(types("no-such-extension").is_empty());
    }

    #[test]
    fn the_tables_are_in_lower_case() {
        let known = TOLD.iter().flat_map(|told| told.extensions).chain(NAMED.iter().flat_map(|named| named.extensions));
        assert!(known.into_iter().all(|extension| *extension == extension.to_lowercase()));
    }
}
