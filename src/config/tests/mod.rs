//! Loading as a whole: layers, cross-checks, what is said and where; of hooks and plugins in [`hooks`]. What is printed is tested through the
//! binary.

mod hooks;

use std::fs;
use std::path::Path;

use super::*;
use crate::diagnostics::{Diagnostic, Severity};
use crate::hooks::config::{OptionProblem, Options, Stage};
use crate::http::api::config::Dialect;

/// A folder with a `config.toml`, and an environment.
struct Bench {
    folder: tempfile::TempDir,
    options: LoadOptions,
}

impl Bench {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.toml"), text).unwrap();
        let options = LoadOptions {
            path: None,
            variables: BTreeMap::new(),
            overrides: Vec::new(),
            current_folder: folder.path().to_owned(),
            plugins: vec![
                kind("json", &[Stage::Validate], |_, _| Vec::new()),
                kind("schema", &[Stage::Validate], check_schema),
                kind("hook", &Stage::ALL, |_, _| Vec::new()),
            ],
            services: crate::storage::config::services(),
        };
        Self { folder, options }
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        self.options.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    fn flag(mut self, key: &str, value: &str) -> Self {
        let flag = format!("--set {key}");
        self.options.overrides.push(Override { key: key.to_owned(), value: value.to_owned(), flag });
        self
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    #[track_caller]
    fn config(&self) -> Config {
        load(&self.options).unwrap_or_else(|diagnostics| panic!("{diagnostics}"))
    }

    /// All errors, as `line:column key: message`.
    #[track_caller]
    fn errors(&self) -> Vec<String> {
        let diagnostics = load(&self.options).expect_err("there are errors");
        diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).map(short).collect()
    }
}

/// A plugin that takes an option `schema`, a file, and another one, `limits.depth`.
fn check_schema(options: &Options, base: &Path) -> Vec<OptionProblem> {
    let problem =
        |option: &str, message: String| OptionProblem { option: option.to_owned(), message, is_unknown: false };
    let mut problems = Vec::new();
    match options.get("schema").and_then(|schema| schema.as_str()) {
        None => problems.push(problem("schema", "name the file".to_owned())),
        Some(schema) if !base.join(schema).exists() => problems.push(problem("schema", format!("no file {schema}"))),
        Some(_) => {}
    }
    if options.get("limits").is_some_and(|limits| limits["depth"] == 0) {
        problems.push(problem("limits.depth", "too small".to_owned()));
    }
    problems
}

/// A plugin that an instance with the option `content` cannot be used of before there is any.
fn kind(name: &'static str, stages: &'static [Stage], check: fn(&Options, &Path) -> Vec<OptionProblem>) -> PluginKind {
    let check_at = |options: &Options, stage| {
        (stage == Stage::Admit && options.contains_key("content")).then(|| "there is no content yet".to_owned())
    };
    PluginKind { name, stages, check, check_at }
}

fn short(diagnostic: &Diagnostic) -> String {
    let place = match diagnostic.position() {
        Some((_, line, column)) => format!("{line}:{column}"),
        None => diagnostic.origin.to_string(),
    };
    format!("{place} {}: {}", diagnostic.key, diagnostic.message)
}

const RELAY: &str = r#"
[storage.files]
service = "fs"
root = "files"
[collection.societes]
storage = "files"
path = "{tenant}/{file_name}"
extension = "json"
[api.relay]
collection = "societes"
"#;

/// `RELAY` with other text in place of some of it.
fn relay_with(from: &str, to: &str) -> Bench {
    assert!(RELAY.contains(from), "{from}");
    Bench::new(&RELAY.replace(from, to))
}

fn relay_and(more: &str) -> Bench {
    Bench::new(&format!("{RELAY}{more}"))
}

#[test]
fn the_file_at_the_root_passes() {
    let mut bench = Bench::new("");
    bench.options.path = Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml"));
    let config = bench.config();
    assert!(config.warnings.is_empty(), "{}", config.warnings);
    assert_eq!(config.apis.enabled().count(), 3);
    assert!(config.collections["societes"].sha256);
    assert_eq!(&*config.collections["societes"].validate[0].plugin, "json");
}

#[test]
fn the_file_at_the_root_writes_the_defaults_out() {
    let mut bench = Bench::new("");
    let by_default = bench.config();
    bench.options.path = Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("config.toml"));
    let written = bench.config();
    assert_eq!(written.server, by_default.server);
    assert_eq!(written.auth, by_default.auth);
    assert_eq!(written.catalog.durability, by_default.catalog.durability);
    assert_eq!(written.staging.expire_after, by_default.staging.expire_after);
    assert_eq!(written.staging.unplaced_memory, by_default.staging.unplaced_memory);
    assert_eq!(written.events, by_default.events);
    assert_eq!(written.hooks, by_default.hooks);
    let relay = Bench::new(RELAY).config();
    assert_eq!(written.collections["societes"].max_file_size, relay.collections["societes"].max_file_size);
}

#[test]
fn without_a_file_the_compiled_in_one_counts_from_the_current_folder() {
    let bench = Bench::new("");
    fs::remove_file(bench.at("config.toml")).unwrap();
    let config = bench.config();
    assert_eq!(config.data_dir, bench.at("data"));
    assert_eq!(config.storages["files"].local_root(), Some(bench.at("data/files").as_path()));
    assert!(config.file.contains("compiled-in"));
}

#[test]
fn the_file_is_the_named_one_then_the_variable_s_then_the_folder_s() {
    let keep = |keep| format!("{RELAY}\n[events]\nkeep = \"{keep}\"\n");
    let mut bench = Bench::new(&keep("1d")).set("TIDEGATE_CONFIG", "variable.toml");
    fs::write(bench.at("variable.toml"), keep("2d")).unwrap();
    fs::write(bench.at("named.toml"), keep("3d")).unwrap();
    assert_eq!(bench.config().events.keep.to_string(), "2d");
    bench.options.path = Some(PathBuf::from("named.toml"));
    assert_eq!(bench.config().events.keep.to_string(), "3d");
    bench.options.variables.clear();
    bench.options.path = None;
    assert_eq!(bench.config().events.keep.to_string(), "1d");
    bench.options.path = Some(PathBuf::from("none.toml"));
    assert!(bench.errors()[0].starts_with("flag --config"), "{:?}", bench.errors());
}

#[test]
fn flags_go_over_legacy_over_environment_over_file_over_defaults() {
    let text = format!("{RELAY}\n[server]\nlisten = [\"localhost:1\", \"localhost:2\"]\n");
    let listen = |bench: &Bench| bench.config().server.listen.iter().map(ToString::to_string).collect::<Vec<_>>();
    let bench = Bench::new(RELAY);
    assert_eq!(listen(&bench), ["localhost:8000", "localhost:5001"]);
    let bench = Bench::new(&text);
    assert_eq!(listen(&bench), ["localhost:1", "localhost:2"]);
    let bench = bench.set("TIDEGATE_SERVER__LISTEN", "[\"127.0.0.1:3\", \"localhost:4\"]");
    assert_eq!(listen(&bench), ["127.0.0.1:3", "localhost:4"]);
    let bench = bench.set("RELAY_PORT", "5");
    assert_eq!(listen(&bench), ["127.0.0.1:5"]);
    let bench = bench.flag("server.listen", "[\"localhost:6\"]");
    assert_eq!(listen(&bench), ["localhost:6"]);
}

#[test]
fn the_environment_reaches_names_in_any_spelling_and_numbers() {
    let text = RELAY.replace("files", "My-Files");
    let bench = Bench::new(&text)
        .set("TIDEGATE_STORAGE__MY_FILES__ROOT", "elsewhere")
        .set("TIDEGATE_SERVER__MAX_CONNECTIONS", "77")
        .set("TIDEGATE_API__RELAY__ENABLED", "false")
        .set("TIDEGATE_DATA_DIR", "own")
        .set("TIDEGATE_PORT", "tcp://10.0.0.1:8000");
    let config = bench.config();
    assert_eq!(config.storages["My-Files"].local_root(), Some(bench.at("elsewhere").as_path()));
    assert_eq!(config.server.max_connections, 77);
    assert_eq!(config.apis.collection(Dialect::Relay), None);
    assert_eq!(config.catalog.path, bench.at("own/tidegate.db"));
    let bench = Bench::new(RELAY).set("TIDEGATE_SERVER__LISTN", "x").set("TIDEGATE_SERVER__MAX_CONNECTIONS", "many");
    assert_eq!(
        bench.errors(),
        [
            "environment variable TIDEGATE_SERVER__LISTN server.listn: unknown key `listn`",
            "environment variable TIDEGATE_SERVER__MAX_CONNECTIONS server.max_connections: expected a whole number from 0 \
             to 4294967295, found text",
        ]
    );
}

#[test]
fn the_relay_s_own_variables_are_honoured() {
    let bench = Bench::new(RELAY)
        .set("RELAY_PORT", "9000")
        .set("BASE_FILES_DIR", "old/files")
        .set("ALLOWED_ORIGINS", "https://a.example.org, http://localhost:*");
    let config = bench.config();
    assert_eq!(config.server.listen.len(), 1);
    assert_eq!(config.server.listen[0].to_string(), "localhost:9000");
    assert_eq!(config.storages["files"].local_root(), Some(bench.at("old/files").as_path()));
    assert!(config.server.allowed_origins[0].matches("https://a.example.org"));
    assert_eq!(config.server.allowed_origins.len(), 2);
    let bench = Bench::new(RELAY).set("RELAY_PORT", "http").set("ALLOWED_ORIGINS", "*").set("BASE_FILES_DIR", "");
    let errors = bench.errors();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors[0].starts_with("environment variable ALLOWED_ORIGINS server.allowed_origins[0]"), "{errors:?}");
    assert!(errors[1].starts_with("environment variable RELAY_PORT"), "{errors:?}");
}

#[test]
fn base_files_dir_needs_a_folder_to_replace() {
    let bench = relay_with("service = \"fs\"\nroot = \"files\"", "service = \"memory\"").set("BASE_FILES_DIR", "x");
    assert!(bench.errors()[0].contains("it names a folder"), "{:?}", bench.errors());
    let config = Bench::new("").set("BASE_FILES_DIR", "x").config();
    assert!(config.warnings.iter().any(|warning| warning.message.contains("BASE_FILES_DIR")));
}

#[test]
fn paths_count_from_the_file_and_typed_ones_from_the_current_folder() {
    let mut bench = Bench::new("").flag("staging.path", "typed");
    fs::create_dir(bench.at("etc")).unwrap();
    fs::write(bench.at("etc/t.toml"), format!("{RELAY}\n[catalog]\npath = \"../c.db\"\n")).unwrap();
    bench.options.path = Some(PathBuf::from("etc/t.toml"));
    let config = bench.config();
    assert_eq!(config.data_dir, bench.at("etc/data"));
    assert_eq!(config.storages["files"].local_root(), Some(bench.at("etc/files").as_path()));
    assert_eq!(config.catalog.path, bench.at("etc/../c.db"));
    assert_eq!(config.staging.path, bench.at("typed"));
    let bench = Bench::new(RELAY).set("STATE_DIRECTORY", "/var/lib/tidegate");
    assert_eq!(bench.config().data_dir, Path::new("/var/lib/tidegate"));
}

#[test]
fn many_errors_are_told_in_one_run_each_at_its_place() {
    let text = r#"
data_dir = 5
[server]
lisen = ["localhost:8000"]
listen = ["localhost:8000", "0.0.0.0", "localhost:8001"]
allowed_origins = ["null", "https://ok.example.org", "example.org"]
deadlines = { headers = 10, idle_body = "soon" }
[auth]
anonymous = "loopbak"
[storage.files]
service = "fs"
root = "${NOT_SET}"
[storage.s]
service = "s4"
[collection.a]
storage = "fils"
path = "{tenant}/{nobody}"
max_file_size = 100
[collection.b]
storage = "files"
validate = ["json", "jsn", { plugin = "json", timout = "5s" }, { plugin = "xml" }]
path = "b"
[api.relay]
collection = "c"
[colection.x]
"#;
    let errors = Bench::new(text).errors();
    let expected = [
        "2:12 data_dir: expected a path in quotes, found a whole number",
        "4:1 server.lisen: unknown key `lisen`",
        "5:29 server.listen[1]: `0.0.0.0` is no address",
        "6:20 server.allowed_origins[0]: the origin `null` cannot be allowed",
        "6:54 server.allowed_origins[2]: `example.org` is no origin",
        "7:25 server.deadlines.headers: `10` has no unit: write `10s`",
        "7:41 server.deadlines.idle_body: `soon` is no duration",
        "9:13 auth.anonymous: `loopbak` is not among",
        "12:8 storage.files.root: the environment variable `NOT_SET` is not set",
        "14:11 storage.s.service: there is no service `s4`",
        "17:8 collection.a.path: `{nobody}` is no placeholder",
        "18:17 collection.a.max_file_size: `100` has no unit",
        "21:21 collection.b.validate[1]: there is no plugin `jsn`",
        "21:47 collection.b.validate[2].timout: unknown key `timout`",
        "21:75 collection.b.validate[3].plugin: there is no plugin `xml`",
        "24:14 api.relay.collection: there is no `[collection.c]`",
        "25:2 colection: unknown key `colection`",
    ];
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
    for (error, expected) in errors.iter().zip(expected) {
        assert!(error.starts_with(expected), "{error}\n{expected}");
    }
}

#[test]
fn syntax_errors_come_with_the_errors_elsewhere_and_without_what_follows_from_them() {
    let errors = Bench::new("[server]\nmax_connections = \nlisen = 1\n[auth\nanonymous = \"x\"\n").errors();
    assert!(errors.iter().any(|error| error.starts_with("2:")), "{errors:#?}");
    assert!(errors.iter().any(|error| error.starts_with("3:1 server.lisen")), "{errors:#?}");
    assert!(errors.iter().any(|error| error.starts_with("4:")), "{errors:#?}");
    assert!(!errors.iter().any(|error| error.contains("missing")), "{errors:#?}");
}

/// One thing that is wrong, and what is said of it.
#[track_caller]
fn refused(bench: &Bench, expected: &str) {
    let errors = bench.errors();
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert!(errors[0].contains(expected), "{errors:#?}");
}

#[test]
fn references_name_something() {
    refused(
        &relay_with("storage = \"files\"", "storage = \"file\""),
        "6:11 collection.societes.storage: there is no `[storage.file]`",
    );
    refused(
        &relay_with("collection = \"societes\"", "collection = \"x\""),
        "api.relay.collection: there is no `[collection.x]`",
    );
    refused(
        &relay_with("[api.relay]", "validate = [\"virus\"]\n[api.relay]"),
        "validate[0]: there is no plugin `virus`",
    );
    refused(
        &relay_with("service = \"fs\"", "service = \"ftp\""),
        "3:11 storage.files.service: there is no service `ftp`",
    );
    refused(
        &relay_with("root = \"files\"", "rot = \"files\""),
        "4:1 storage.files.rot: the service `fs` has no option `rot`",
    );
    refused(
        &relay_with("root = \"files\"\n", ""),
        "2:10 storage.files: the service `fs` does not take this: `root` is missing",
    );
    refused(
        &relay_with("[storage.files]", "[storage.\"my files\"]\nservice = \"memory\"\n[storage.files]"),
        "`my files` is no name",
    );
}

#[test]
fn dialects_can_live_with_their_collection() {
    refused(
        &relay_with("{tenant}/", ""),
        "7:8 collection.societes.path: the path must hold `{tenant}`, for `api.relay`",
    );
    refused(&relay_with("{file_name}", "{session_id}_{file_name}"), "nothing to put in for `{session_id}`");
    refused(&relay_with("extension = \"json\"\n", ""), "`api.relay` serves files whose names end in `.json`");
    refused(&relay_with("\"json\"", "\".json\""), "8:13 collection.societes.extension: `.json` is no extension");
    let shared = relay_with("[api.relay]", "[api.fileupload]\ncollection = \"societes\"\n[api.relay]").errors();
    assert!(shared.iter().any(|error| error.contains("belongs to `api.fileupload` already")), "{shared:#?}");
    let upload =
        |path: &str| relay_with("[api.relay]", "[api.fileupload]").set("TIDEGATE_COLLECTION__SOCIETES__PATH", path);
    refused(&upload("{file_name}"), "must hold `{session_id}`, for `api.fileupload`");
    refused(&upload("{tenant}/{session_id}"), "`api.fileupload` has nothing to put in for `{tenant}`");
    assert_eq!(upload("{stem}_{session_id}{ext}").config().apis.enabled().count(), 1);
    let writer =
        |path: &str| relay_with("[api.relay]", "[api.chunk_writer]").set("TIDEGATE_COLLECTION__SOCIETES__PATH", path);
    refused(&writer("{file_name}"), "its path has no placeholders");
    refused(&writer("a.txt").set("TIDEGATE_COLLECTION__SOCIETES__VALIDATE", "[\"json\"]"), "takes no validation hooks");
    let memory = Bench::new(
        &RELAY.replace("service = \"fs\"\nroot = \"files\"", "service = \"memory\"").replace("relay", "chunk_writer"),
    );
    refused(&memory.set("TIDEGATE_COLLECTION__SOCIETES__PATH", "a.txt"), "the service `memory` cannot append");
    assert_eq!(writer("uploads/a.txt").config().apis.collection(Dialect::ChunkWriter), Some("societes"));
}

#[test]
fn a_dialect_that_is_off_asks_nothing_of_its_collection() {
    let config = relay_with("{tenant}/", "").set("TIDEGATE_API__RELAY__ENABLED", "false").config();
    assert!(config.warnings.iter().any(|warning| warning.message.contains("no dialect is enabled")));
}

#[test]
fn folders_do_not_lie_in_one_another() {
    let nested = |root: &str| relay_and(&format!("[storage.other]\nservice = \"fs\"\nroot = \"{root}\"\n"));
    refused(&nested("files/inner"), "the root of `storage.other` lies inside the root of `storage.files`");
    refused(&nested("./files"), "is the same place as the root of `storage.files`");
    refused(&nested("data/staging/x"), "lies inside staging");
    refused(&relay_and("[staging]\npath = \"files/s\"\n"), "lies around staging");
    refused(&relay_and("[catalog]\npath = \"files/c.db\"\n"), "lies around the catalog");
    assert_eq!(nested("files2").config().storages.len(), 2);
    assert_eq!(nested("data/files").config().storages.len(), 2);
}

#[test]
fn what_takes_up_foreign_files_shares_no_folder() {
    let sharing = |path: &str| relay_and(&format!("[collection.other]\nstorage = \"files\"\npath = \"{path}\"\n"));
    refused(&sharing("large/{file_name}"), "also those of `collection.other`");
    refused(&sharing("x/{tenant}/{file_name}"), "also those of `collection.");
    let apart = relay_with("{tenant}/", "in/{tenant}/").set("TIDEGATE_COLLECTION__B__STORAGE", "files");
    assert_eq!(apart.set("TIDEGATE_COLLECTION__B__PATH", "out/{file_name}").config().collections.len(), 2);
}

#[test]
fn other_machines_are_let_in_by_word_only() {
    let open = relay_and("[server]\nlisten = [\"localhost:1\", \"0.0.0.0:1\", \"[::]:1\"]\n");
    let errors = open.errors();
    assert_eq!(errors.len(), 2, "{errors:#?}");
    assert!(errors[0].starts_with("12:26 server.listen[1]: `0.0.0.0:1` can be reached"), "{errors:#?}");
    assert_eq!(open.set("TIDEGATE_AUTH__ANONYMOUS", "everywhere").config().server.listen.len(), 3);
    let nobody = relay_and("[server]\nlisten = [\"0.0.0.0:1\"]\n[auth]\nanonymous = \"nowhere\"\n").config();
    assert_eq!(nobody.warnings.count(Severity::Warning), 1);
}

#[test]
fn a_secret_is_never_shown() {
    let text = r#"
[storage.s]
service = "s3"
bucket = "b"
region = "r"
secret_access_key = "hunter2"
session_token = "${file:token}"
endpoint = "${file:endpoint}"
colour = "x"
[collection.c]
storage = "${file:endpoint}"
path = "a"
max_file_size = "${file:token}"
[plugin.w]
kind = "webhook"
url = "https://user:passw0rd@host/"
secrets = [13572468]
"#;
    let bench = Bench::new(text);
    fs::write(bench.at("token"), "tok3n\n").unwrap();
    fs::write(bench.at("endpoint"), "https://user:s3cret@host\n").unwrap();
    let diagnostics = load(&bench.options).unwrap_err();
    let said = format!("{diagnostics}{}", serde_json::to_string(&diagnostics).unwrap());
    assert!(diagnostics.count(Severity::Error) >= 3, "{said}");
    let text = &text[..text.find("[plugin.w]").unwrap()];
    let good = text.replace("colour = \"x\"\n", "").replace("\nstorage = \"${file:endpoint}\"", "\nstorage = \"s\"");
    fs::write(bench.at("config.toml"), good.replace("max_file_size = \"${file:token}\"\n", "")).unwrap();
    let config = bench.config();
    assert_eq!(config.storages["s"].options["session_token"], "tok3n");
    let printed = format!("{said}{}{}{config:?}", config.show(), config.show_json());
    for secret in ["hunter2", "tok3n", "s3cret", "passw0rd", "13572468"] {
        assert!(!printed.contains(secret), "{secret}: {printed}");
    }
}

#[test]
fn shows_what_is_in_force_and_why() {
    let bench =
        relay_and("[events]\nkeep = \"7d\"\n").set("TIDEGATE_STAGING__EXPIRE_AFTER", "2h").set("RELAY_PORT", "9");
    let shown = bench.config().show();
    let line = |start: &str| {
        let line = shown.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}: {shown}"));
        line.split_once("  # ").map(|(value, origin)| (value.trim_end().to_owned(), origin.to_owned())).unwrap()
    };
    let pair = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    assert_eq!(line("keep"), pair("keep = \"7d\"", "config.toml:12:8"));
    assert_eq!(
        line("expire_after"),
        pair("expire_after = \"2h\"", "environment variable TIDEGATE_STAGING__EXPIRE_AFTER")
    );
    assert_eq!(line("listen"), pair("listen = [\"localhost:9\"]", "environment variable RELAY_PORT"));
    assert_eq!(line("durability"), pair("durability = \"process\"", "default"));
    let again = Bench::new(&shown).config();
    assert_eq!(again.show().lines().count(), shown.lines().count());
}

#[test]
fn says_what_takes_a_restart() {
    let old = Bench::new(RELAY);
    let mut new = relay_and("[catalog]\ndurability = \"disk\"\n[events]\nkeep = \"1d\"\n").set("RELAY_PORT", "9");
    new.options.current_folder = old.options.current_folder.clone();
    new.options.path = Some(new.at("config.toml"));
    let new =
        new.flag("data_dir", "data").flag("staging.path", "data/staging").flag("catalog.path", "data/tidegate.db");
    assert_eq!(old.config().restart_needed(&new.config()), ["server.listen", "catalog.durability"]);
    assert!(old.config().restart_needed(&old.config()).is_empty());
}
