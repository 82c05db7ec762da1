//! Who may import whom (DESIGN's layout, README "The code"): every path in the source is held against the table below, not only
//! `use` lines.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules that know no other, and that all may use.
const LEAVES: &[&str] =
    &["auth", "collection", "crash", "diagnostics", "digest", "fault", "kernel", "name", "time", "to_the_end", "units"];

/// What else each module may use. Whatever is not listed may use leaves alone.
const MAY_USE: &[(&str, &[&str])] = &[
    ("files", &["events"]),
    ("upload", &["files", "events"]),
    ("staging", &["upload", "files"]),
    ("storage", &["files"]),
    ("follow_ups", &["files"]),
    ("catalog", &["files", "upload", "follow_ups", "events", "jobs"]),
    ("hooks", &["files", "upload"]),
    ("gateway", &["files", "upload", "follow_ups", "events"]),
    ("http", &["gateway", "files", "upload", "follow_ups", "events"]),
];

/// Modules that see everything.
const SEES_ALL: &[&str] = &["boot", "cli", "main"];

/// Where plugins appear, each of them.
const HOOKS: &[&str] = &["hooks"];

/// Crates that appear in one module alone, or in these.
const KEPT_TO: &[(&str, &[&str])] = &[
    ("poem", &["http"]),
    ("poem_openapi", &["http"]),
    ("hyper", &["http"]),
    ("hyper_util", &["http"]),
    ("multer", &["http"]),
    ("rusqlite", &["catalog"]),
    ("rusqlite_migration", &["catalog"]),
    ("opendal", &["storage"]),
    ("tidegate_plugin_sdk", &["hooks", "units"]),
    ("clap", &["cli"]),
];

#[test]
fn modules_use_what_they_may() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let plugins: Vec<String> =
        plugin_folders().iter().map(|name| format!("tidegate_plugin_{}", name.replace('-', "_"))).collect();
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for file in rust_files(&root) {
        let relative = file.strip_prefix(&root).unwrap();
        let module = module_path(relative);
        let Some(top) = module.first().cloned().filter(|top| top != "lib") else { continue };
        seen.insert(top.clone());
        let text = without_comments_and_strings(&fs::read_to_string(&file).unwrap());
        // A step that is no module of the root comes from a `#[path]` or an inline module, and stays within `top`.
        let from_root =
            |path: &Vec<String>| root.join(&path[0]).is_dir() || root.join(format!("{}.rs", path[0])).exists();
        for used in paths_in(&text, &module).into_iter().filter(from_root) {
            if !is_allowed(&top, &used) {
                wrong.push(format!("{}: `{top}` must not use `{}`", relative.display(), used.join("::")));
            }
        }
        for (name, homes) in KEPT_TO.iter().copied().chain(plugins.iter().map(|name| (name.as_str(), HOOKS))) {
            if !homes.contains(&top.as_str()) && mentions_crate(&text, name) {
                wrong.push(format!("{}: `{name}` is kept to `{}`", relative.display(), homes.join("`, `")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (module, uses) in MAY_USE {
        for name in std::iter::once(module).chain(uses.iter()) {
            assert!(seen.contains(*name), "the table speaks of `{name}`, which is not there");
        }
    }
}

/// Plugins see the SDK, and nothing of the gateway.
#[test]
fn plugins_see_the_sdk_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins");
    for folder in fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        for file in rust_files(&folder.join("src")) {
            let text = without_comments_and_strings(&fs::read_to_string(&file).unwrap());
            assert!(!mentions_crate(&text, "tidegate"), "{} uses the gateway", file.display());
        }
    }
}

/// A plugin's folder, its dependency and its feature line stand for one another.
#[test]
fn plugin_folders_and_features_agree() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest: toml::Table = fs::read_to_string(root.join("Cargo.toml")).unwrap().parse().unwrap();
    let features: BTreeSet<String> = manifest["features"]
        .as_table()
        .unwrap()
        .keys()
        .filter_map(|feature| feature.strip_prefix("plugin-").map(str::to_owned))
        .collect();
    let folders = plugin_folders();
    assert_eq!(features, folders);
    let built_in: BTreeSet<String> =
        tidegate::hooks::built_in_plugins().iter().map(|kind| kind.name.to_owned()).collect();
    assert_eq!(built_in, folders);
}

fn plugin_folders() -> BTreeSet<String> {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins")).unwrap();
    entries
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("Cargo.toml").exists())
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name != "sdk")
        .collect()
}

/// A dialect is its folder and its line in the list of what is mounted.
#[test]
fn dialect_folders_and_the_list_of_them_agree() {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/api")).unwrap();
    let folders: BTreeSet<_> = entries
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    let listed: BTreeSet<_> = tidegate::http::api::APIS.iter().map(|api| api.name.to_owned()).collect();
    assert_eq!(folders, listed);
}

fn is_allowed(top: &str, used: &[String]) -> bool {
    let name = used[0].as_str();
    if name == top || SEES_ALL.contains(&top) {
        return true;
    }
    if top == "config" {
        // It composes the sections that the modules own, and knows nothing else of them.
        return LEAVES.contains(&name) || used.iter().any(|step| step == "config");
    }
    if LEAVES.contains(&top) && !LEAVES.contains(&name) {
        return false;
    }
    LEAVES.contains(&name) || MAY_USE.iter().any(|(module, uses)| *module == top && uses.contains(&name))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(rust_files(&path)),
            false if path.extension().is_some_and(|extension| extension == "rs") => files.push(path),
            false => {}
        }
    }
    files
}

/// `upload/part.rs` → `["upload", "part"]`.
fn module_path(relative: &Path) -> Vec<String> {
    let mut steps: Vec<String> =
        relative.with_extension("").iter().map(|step| step.to_str().unwrap().to_owned()).collect();
    if steps.last().is_some_and(|last| last == "mod") {
        steps.pop();
    }
    steps
}

/// Paths from the crate's root that the text names, as far as they go in plain `a::b` form.
fn paths_in(text: &str, module: &[String]) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for (start, _) in text.match_indices("crate::") {
        let before = text[..start].chars().next_back();
        if !before.is_some_and(|character| is_word(character) || character == '$' || character == ':') {
            collect(&text[start + "crate::".len()..], &[], &mut paths);
        }
    }
    let mut rest = 0;
    while let Some(found) = text[rest..].find("super::") {
        let start = rest + found;
        let mut end = start;
        let mut ups = 0;
        while text[end..].starts_with("super::") {
            ups += 1;
            end += "super::".len();
        }
        rest = end;
        // An inline `mod tests` is one step deeper than its file; it can only reach less far up.
        if ups < module.len() || ups == module.len() {
            collect(&text[end..], &module[..module.len() - ups], &mut paths);
        }
    }
    paths.retain(|path| !path.is_empty());
    paths
}

/// Reads `a::b` or `{a, b::c}` behind `prefix`.
fn collect(text: &str, prefix: &[String], paths: &mut Vec<Vec<String>>) {
    let Some(inner) = text.trim_start().strip_prefix('{') else {
        let mut path = prefix.to_vec();
        let mut rest = text;
        loop {
            let length = rest.find(|character| !is_word(character)).unwrap_or(rest.len());
            if length == 0 {
                break;
            }
            path.push(rest[..length].to_owned());
            match rest[length..].strip_prefix("::") {
                Some(next) => rest = next,
                None => break,
            }
        }
        return paths.push(path);
    };
    let mut depth = 0;
    let mut item = 0;
    for (index, character) in inner.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => {
                collect(inner[item..index].trim_start(), prefix, paths);
                return;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                collect(inner[item..index].trim_start(), prefix, paths);
                item = index + 1;
            }
            _ => {}
        }
    }
}

fn mentions_crate(text: &str, name: &str) -> bool {
    let path = format!("{name}::");
    text.match_indices(&path).any(|(start, _)| {
        let before = text[..start].trim_end_matches("::").chars().next_back();
        let is_start = !text[..start].ends_with("::") || text[..start].ends_with(" ::");
        is_start && !before.is_some_and(is_word)
    })
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn without_comments_and_strings(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if character == '"' {
            let mut escaped = false;
            let end = rest[1..].char_indices().find(|(_, inner)| {
                let is_end = *inner == '"' && !escaped;
                escaped = *inner == '\\' && !escaped;
                is_end
            });
            rest = end.map_or("", |(index, _)| &rest[index + 2..]);
        } else if rest.starts_with("'\"'") {
            rest = &rest[3..];
        } else {
            out.push(character);
            rest = &rest[character.len_utf8()..];
        }
    }
    out
}

#[test]
fn the_reader_of_paths_reads_paths() {
    let module = ["a".to_owned(), "b".to_owned()];
    let text = without_comments_and_strings(
        "// crate::no\nuse crate::{x::y, z};\nlet s = \"crate::no\"; super::c::d(); super::super::e::f; $crate::q;",
    );
    let found: Vec<String> = paths_in(&text, &module).iter().map(|path| path.join("::")).collect();
    assert_eq!(found, ["x::y", "z", "a::c::d", "e::f"]);
    assert!(!is_allowed("events", &["catalog".to_owned()]));
    assert!(!is_allowed("storage", &["catalog".to_owned()]));
    assert!(!is_allowed("name", &["files".to_owned()]));
    assert!(!is_allowed("config", &["hooks".to_owned(), "Hooks".to_owned()]));
    assert!(mentions_crate("fn x(a: poem::Body)", "poem") && !mentions_crate("my_poem::Body", "poem"));
}
