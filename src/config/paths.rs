//! Paths of the configuration: made absolute, and kept out of one another. Looks at the filesystem only to see through
//! symbolic links on the way to a path that is named; makes nothing.

use std::path::{Component, Path, PathBuf};

use super::document::Document;
use crate::diagnostics::{KeyPath, Origin};

/// What relative paths count from.
pub struct Folders<'a> {
    /// The folder of the file.
    pub file: &'a Path,
    /// For what is typed on the command line or stands in the environment.
    pub current: &'a Path,
}

impl Folders<'_> {
    /// The absolute form of the path written at `key`.
    pub fn absolute(&self, document: &Document, key: &KeyPath, path: &Path) -> PathBuf {
        let folder = match document.origin_if_written(key) {
            Origin::File { .. } | Origin::Default => self.file,
            Origin::Variable(_) | Origin::Flag(_) => self.current,
        };
        without_dots(&folder.join(path))
    }
}

/// Without `.`; `..` stays, for what it means depends on symbolic links.
fn without_dots(path: &Path) -> PathBuf {
    path.components().filter(|component| *component != Component::CurDir).collect()
}

/// A place that the gateway writes to, and what calls it so.
#[derive(Debug, Clone)]
pub struct Place {
    pub key: KeyPath,
    pub what: String,
    pub path: PathBuf,
    /// Whether it is a storage's root; two places of the gateway's own may be neighbours.
    pub is_root: bool,
}

/// Pairs of places of which one lies in the other, the later-named first.
pub fn nested(places: &[Place]) -> Vec<(&Place, &Place, Nesting)> {
    let real: Vec<_> = places.iter().map(|place| real_path(&place.path)).collect();
    let mut nested = Vec::new();
    for (later, place) in places.iter().enumerate() {
        for (earlier, other) in places[..later].iter().enumerate() {
            let nesting = match (real[later].starts_with(&real[earlier]), real[earlier].starts_with(&real[later])) {
                (true, true) => Nesting::Same,
                (true, false) => Nesting::Inside,
                (false, true) => Nesting::Around,
                (false, false) => continue,
            };
            if place.is_root || other.is_root {
                nested.push((place, other, nesting));
            }
        }
    }
    nested
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nesting {
    Same,
    Inside,
    Around,
}

impl Nesting {
    pub fn in_words(self) -> &'static str {
        match self {
            Nesting::Same => "is the same place as",
            Nesting::Inside => "lies inside",
            Nesting::Around => "lies around",
        }
    }
}

/// With symbolic links followed as far as there is something; the rest is taken by its letters.
fn real_path(path: &Path) -> PathBuf {
    let (mut real, rest) = path
        .ancestors()
        .find_map(|start| Some((start.canonicalize().ok()?, path.strip_prefix(start).ok()?)))
        .unwrap_or((PathBuf::new(), path));
    for component in rest.components() {
        match component {
            Component::ParentDir => drop(real.pop()),
            component => real.push(component),
        }
    }
    real
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(name: &str, path: PathBuf) -> Place {
        Place { key: KeyPath::of(["storage", name, "root"]), what: name.to_owned(), path, is_root: true }
    }

    #[test]
    fn sees_what_lies_in_what() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        let places = [
            root("a", at("a")),
            root("a-b", at("a-b")),
            root("in-a", at("b/../a/x")),
            root("a-again", at("a")),
            root("all", folder.path().to_owned()),
        ];
        let found: Vec<_> = nested(&places).iter().map(|(x, y, n)| (x.what.clone(), y.what.clone(), *n)).collect();
        let expected = [
            ("in-a", "a", Nesting::Inside),
            ("a-again", "a", Nesting::Same),
            ("a-again", "in-a", Nesting::Around),
            ("all", "a", Nesting::Around),
            ("all", "a-b", Nesting::Around),
            ("all", "in-a", Nesting::Around),
            ("all", "a-again", Nesting::Around),
        ];
        assert_eq!(found, expected.map(|(x, y, n)| (x.to_owned(), y.to_owned(), n)));
    }

    #[cfg(unix)]
    #[test]
    fn sees_through_symbolic_links() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("real")).unwrap();
        std::os::unix::fs::symlink("real", folder.path().join("link")).unwrap();
        let places = [root("a", folder.path().join("real")), root("b", folder.path().join("link/not/yet"))];
        assert_eq!(nested(&places).len(), 1);
    }
}
