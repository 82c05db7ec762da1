//! A schema: read from its file, looked through for references without end, and compiled.

mod cycles;
mod files;
mod hosts;
mod places;
mod reach;
mod stack;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, Registry, ValidationError, Validator};
use serde_json::Value;

use crate::view::Viewed;
use files::Files;
pub use files::LARGEST;
pub use hosts::Hosts;
use places::Places;
use reach::Reach;
pub use reach::{Fetched, Lacking, file_named_in};
pub use stack::Stack;

/// A pattern that takes more memory when it is compiled may take long for each character, too, in bytes.
const LARGEST_LINEAR_PATTERN: usize = 32 * 1024;
/// So often the engine may go back in one text where a pattern needs that: some milliseconds. What takes more is too complex.
const BACKTRACKS: usize = 100_000;

pub struct Schema {
    pub validator: Validator<Viewed>,
    /// Whether all patterns take little time for each character of a text: not if they have look-around or back-references, nor if they
    /// are large.
    pub is_linear: bool,
    pub stack: Stack,
}

/// The file of a schema as it is written, and what it may refer to.
pub struct Source {
    path: PathBuf,
    contents: Value,
    draft: Draft,
    files: Files,
    hosts: Hosts,
}

pub enum Compiled {
    Whole(Schema),
    /// It refers to what is not there yet.
    Lacking(Lacking),
}

impl Source {
    /// Reads a schema and holds it against its draft; or says what is wrong with it, for whoever wrote it.
    pub fn read(path: &Path, base: &Path, hosts: Hosts) -> Result<Self, String> {
        let path = base.join(path);
        let path = fs::canonicalize(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let contents = files::read(&path)?;
        let draft = Draft::default().detect(&contents);
        if draft == Draft::Unknown {
            let named = contents["$schema"].as_str().unwrap_or_default();
            return Err(format!(
                "{} names the draft `{named}` as its `$schema`; write that of draft 4, 6, 7, 2019-09 or 2020-12",
                path.display()
            ));
        }
        let folders =
            [Some(base), path.parent()].into_iter().flatten().filter_map(|folder| fs::canonicalize(folder).ok());
        let files = Files::new(folders.collect());
        let source = Self { path, contents, draft, files, hosts };
        source.recursively(|| {
            jsonschema::meta::validate(&source.contents).map_err(|error| source.explain(placed(&error)))
        })?;
        Ok(source)
    }

    /// Whether a host that it may refer to shows a certificate.
    pub fn speaks_tls(&self) -> bool {
        self.hosts.speak_tls()
    }

    /// Compiles it with what was fetched, for documents of a depth; or says what else it takes. What is wrong can be seen before all is
    /// there, but not all of it.
    pub fn compile(&self, fetched: Arc<Fetched>, max_depth: usize) -> Result<Compiled, String> {
        self.recursively(|| self.compile_here(fetched, max_depth))
    }

    /// Does with the schema what takes much of a stack if it is deep.
    fn recursively<T: Send>(&self, work: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
        let done = stack::COMPILER.run(work);
        done.map_err(|error| format!("there is no thread to compile {}: {error}", self.path.display()))?
    }

    fn compile_here(&self, fetched: Arc<Fetched>, max_depth: usize) -> Result<Compiled, String> {
        let location = files::address_of(&self.path);
        let reach = Reach::new(self.files.clone(), self.hosts.clone(), fetched);
        let registry = Registry::new()
            .retriever(reach.clone())
            .draft(self.draft)
            .add(&location, self.draft.create_resource_ref(&self.contents))
            .and_then(|registry| registry.prepare())
            .map_err(|error| self.explain(error))?;
        let root = jsonschema::uri::from_str(&location).map_err(|error| self.explain(error))?;
        let places = Places::of(&self.contents, self.draft, &registry.resolver(root));
        let order = cycles::order(&places).map_err(|reference| {
            self.explain(format_args!(
                "its reference to `{reference}` leads back to itself, so that no value ever meets a condition; \
                 put a `properties` or `items` between the two"
            ))
        })?;
        let stack = Stack::of(&places, &order, max_depth).map_err(|message| self.explain(message))?;
        let options = jsonschema::options_for::<Viewed>()
            .with_draft(self.draft)
            .with_base_uri(location)
            .with_retriever(reach.clone());
        let linear = PatternOptions::regex().size_limit(LARGEST_LINEAR_PATTERN);
        let built = options
            .clone()
            .with_pattern_options(linear)
            .build(&self.contents)
            .map(|validator| (validator, true))
            .or_else(|_| {
                let fancy = PatternOptions::fancy_regex().backtrack_limit(BACKTRACKS);
                options.with_pattern_options(fancy).build(&self.contents).map(|validator| (validator, false))
            });
        let lacking = reach.lacking();
        match built {
            Ok((validator, is_linear)) if lacking.is_empty() => {
                Ok(Compiled::Whole(Schema { validator, is_linear, stack }))
            }
            // What stands in for what is lacking has nothing in it that a reference could lead to.
            Err(error) if lacking.is_empty() || !matches!(error.kind(), ValidationErrorKind::Referencing(_)) => {
                Err(self.explain(placed(&error)))
            }
            _ => Ok(Compiled::Lacking(lacking)),
        }
    }

    fn explain(&self, what: impl std::fmt::Display) -> String {
        format!("{} is no schema that can be used: {what}", self.path.display())
    }
}

/// An error of a schema with its place in it.
fn placed(error: &ValidationError<'_>) -> String {
    match error.instance_path().as_str() {
        "" => error.to_string(),
        path => format!("{path}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const DRAFT_4: &str = "http://json-schema.org/draft-04/schema#";
    const DRAFT_7: &str = "http://json-schema.org/draft-07/schema#";
    const DRAFT_2019: &str = "https://json-schema.org/draft/2019-09/schema";

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new(files: &[(&str, Value)]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            for (name, contents) in files {
                let path = folder.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, contents.to_string()).unwrap();
            }
            Self(folder)
        }

        fn load(&self, name: &str) -> Result<(), String> {
            load(name, self.0.path(), &[]).map(|lacking| assert_eq!(lacking, [""; 0]))
        }
    }

    /// What the schema lacks, if nothing is wrong with it.
    fn load(name: &str, base: &Path, hosts: &[&str]) -> Result<Vec<String>, String> {
        let hosts: Vec<_> = hosts.iter().map(|name| (*name).to_owned()).collect();
        let source = Source::read(Path::new(name), base, Hosts::parse(&hosts).0)?;
        Ok(match source.compile(Arc::default(), 128)? {
            Compiled::Whole(_) => Vec::new(),
            Compiled::Lacking(lacking) => lacking.into_keys().collect(),
        })
    }

    fn problem(contents: Value) -> String {
        Folder::new(&[("schema.json", contents)]).load("schema.json").unwrap_err()
    }

    #[test]
    fn a_file_that_is_missing_or_no_json_is_named() {
        let folder = Folder::new(&[]);
        assert!(folder.load("none.json").unwrap_err().contains("none.json"));
        fs::write(folder.0.path().join("text.json"), "{").unwrap();
        let message = folder.load("text.json").unwrap_err();
        assert!(message.contains("text.json") && message.contains("not JSON"), "{message}");
    }

    #[test]
    fn a_schema_that_does_not_compile_is_told_where() {
        for (schema, part) in [
            (json!({"properties": {"a": {"type": "strnig"}}}), "/properties/a/type"),
            (json!({"properties": {"a": {"pattern": "("}}}), "/properties/a/pattern"),
            (json!({"$ref": "#/$defs/none"}), "/$defs/none"),
            (json!([]), "object"),
            (json!({"$schema": "http://json-schema.org/draft-03/schema#"}), "2020-12"),
        ] {
            let message = problem(schema);
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn the_time_of_a_pattern_is_known_if_it_is_small_and_has_no_look_around_and_back_references() {
        for (pattern, expected) in [
            ("^[0-9]{3,12}$", true),
            ("^\\S+@\\S+\\.\\S+$", true),
            ("^[A-Za-z0-9_-]{1,64}$", true),
            ("^[a-z]{1,255}$", true),
            ("^(red|green|blue)-[0-9a-f]{8}$", true),
            // Linear as well, but hundreds of times as slow.
            ("[ab][a-z]{1,3000}x", false),
            ("(a{1,50}){1,50}b", false),
            ("^(?!old)[a-z]+$", false),
            ("^(.)\\1$", false),
        ] {
            let folder = Folder::new(&[("schema.json", json!({"properties": {"a": {"pattern": pattern}}}))]);
            let source = Source::read(Path::new("schema.json"), folder.0.path(), Hosts::default()).unwrap();
            let Compiled::Whole(schema) = source.compile(Arc::default(), 128).unwrap() else {
                panic!("it lacks something")
            };
            assert_eq!(schema.is_linear, expected, "{pattern}");
        }
    }

    #[test]
    fn a_reference_without_end_is_refused() {
        for schema in [
            json!({"$ref": "#"}),
            json!({"$ref": ""}),
            json!({"properties": {"a": {"$ref": "#/properties/a"}}}),
            json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"allOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"}),
            json!({"$defs": {"a": {"$anchor": "a", "if": {"$ref": "#a"}}}}),
            json!({"$schema": DRAFT_7, "definitions": {"a": {"$ref": "#/definitions/a"}}}),
            json!({"$schema": DRAFT_7, "definitions": {"a": {"if": {"$ref": "#/definitions/a"}}}}),
            json!({"$schema": DRAFT_4, "definitions": {"a": {"dependencies": {"b": {"$ref": "#/definitions/a"}}}}}),
            json!({"$defs": {"a": {"dependentSchemas": {"b": {"$ref": "#/$defs/a"}}}}}),
            json!({"$schema": DRAFT_2019, "$recursiveRef": "#"}),
            json!({"$schema": DRAFT_2019, "$recursiveAnchor": true, "allOf": [{"$recursiveRef": "#"}]}),
            json!({"$dynamicRef": "#"}),
            json!({"$dynamicAnchor": "n", "anyOf": [{"$dynamicRef": "#n"}]}),
            json!({"$defs": {"a": {"$dynamicAnchor": "n", "$dynamicRef": "#n"}}, "properties": {"x": {"$ref": "#/$defs/a"}}}),
            // By the way that leads there.
            json!({"$ref": "strict", "$defs": {
                "open": {"$id": "open", "$dynamicRef": "#n", "$defs": {"n": {"$dynamicAnchor": "n"}}},
                "strict": {"$id": "strict", "$dynamicAnchor": "n", "$ref": "open"}
            }}),
        ] {
            let message = problem(schema.clone());
            assert!(message.contains("back to itself"), "{schema}: {message}");
        }
        let folder =
            Folder::new(&[("one.json", json!({"$ref": "two.json"})), ("two.json", json!({"$ref": "one.json"}))]);
        let message = folder.load("one.json").unwrap_err();
        assert!(message.contains("back to itself"), "{message}");
    }

    #[test]
    fn a_schema_may_be_recursive_where_values_are() {
        for schema in [
            json!({"properties": {"next": {"$ref": "#"}}}),
            json!({"items": {"anyOf": [{"type": "string"}, {"$ref": "#"}]}}),
            json!({"const": {"$ref": "#"}}),
            json!({"$defs": {"a": {"type": "string"}}, "allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}),
            json!({"$dynamicAnchor": "n", "items": {"$dynamicRef": "#n"}}),
            json!({"$ref": "strict", "$defs": {
                "tree": {"$id": "tree", "$dynamicAnchor": "n", "items": {"$dynamicRef": "#n"}},
                "strict": {"$id": "strict", "$dynamicAnchor": "n", "$ref": "tree", "unevaluatedProperties": false}
            }}),
            json!({"$ref": "https://json-schema.org/draft/2020-12/schema"}),
            json!({"$schema": DRAFT_2019, "$ref": "https://json-schema.org/draft/2019-09/schema"}),
            json!({"$schema": DRAFT_2019, "$recursiveAnchor": true, "items": {"$recursiveRef": "#"}}),
        ] {
            let folder = Folder::new(&[("schema.json", schema.clone())]);
            assert_eq!(folder.load("schema.json"), Ok(()), "{schema}");
        }
    }

    #[test]
    fn what_a_draft_does_not_know_leads_nowhere() {
        for schema in [
            json!({
                "$schema": DRAFT_7,
                "properties": {"a": {"$ref": "#/definitions/s", "allOf": [{"$ref": "#/properties/a"}]}},
                "definitions": {"s": {"type": "string"}}
            }),
            json!({"$schema": DRAFT_4, "definitions": {"a": {"dependentSchemas": {"x": {"$ref": "#/definitions/a"}}}}}),
            json!({"$schema": DRAFT_4, "definitions": {"a": {"if": {"$ref": "#/definitions/a"}}}}),
            json!({"$schema": DRAFT_7, "$dynamicRef": "#", "$recursiveRef": "#"}),
        ] {
            let folder = Folder::new(&[("schema.json", schema.clone())]);
            assert_eq!(folder.load("schema.json"), Ok(()), "{schema}");
        }
    }

    #[test]
    fn a_schema_in_which_a_value_passes_too_many_subschemas_is_refused() {
        let chain = |length: usize, last: Value| {
            let hop = |number: usize| (format!("a{number}"), json!({"$ref": format!("#/$defs/a{}", number + 1)}));
            let mut definitions: serde_json::Map<_, _> = (0..length).map(hop).collect();
            definitions.insert(format!("a{length}"), last);
            json!({"$defs": definitions, "$ref": "#/$defs/a0"})
        };
        let message = problem(chain(20_000, json!({"type": "string"})));
        assert!(message.contains("20002 of its subschemas") && message.contains("`$ref`"), "{message}");
        for long in [chain(900, json!({"items": {"$ref": "#/$defs/a0"}})), chain(900, json!({"type": "string"}))] {
            let mut unevaluated = long.clone();
            unevaluated["unevaluatedProperties"] = json!(false);
            for schema in [long, unevaluated] {
                assert_eq!(Folder::new(&[("schema.json", schema)]).load("schema.json"), Ok(()));
            }
        }
    }

    #[test]
    fn a_schema_may_be_as_deep_as_the_parser_allows() {
        let deep = (0..60).fold(json!({"type": "string"}), |inner, _| json!({"allOf": [inner]}));
        let deeper = (0..120).fold(json!({"type": "string"}), |inner, _| json!({"items": inner}));
        for schema in [deep, deeper] {
            // On a thread as small as any.
            let folder = Folder::new(&[("schema.json", schema)]);
            let load = move || assert_eq!(folder.load("schema.json"), Ok(()));
            std::thread::Builder::new().stack_size(512 << 10).spawn(load).unwrap().join().unwrap();
        }
    }

    #[test]
    fn references_go_to_files_beside_the_schema_and_in_the_folder_of_the_configuration() {
        let folder = Folder::new(&[
            (
                "schemas/main.json",
                json!({"properties": {"a": {"$ref": "parts/a b.json#/$defs/a"}, "c": {"$ref": "../common.json"}}}),
            ),
            ("schemas/parts/a b.json", json!({"$defs": {"a": {"type": "string"}}})),
            ("common.json", json!({"type": "string"})),
        ]);
        // A reference is a URI, in which a blank has to be escaped.
        let main = json!({"properties": {"a": {"$ref": "parts/a%20b.json#/$defs/a"}, "c": {"$ref": "../common.json"}}});
        fs::write(folder.0.path().join("schemas/main.json"), main.to_string()).unwrap();
        assert_eq!(folder.load("schemas/main.json"), Ok(()));
    }

    #[test]
    fn references_to_hosts_and_to_files_elsewhere_are_refused() {
        let folder = Folder::new(&[
            ("elsewhere.json", json!({})),
            ("inside/up.json", json!({"$ref": "../elsewhere.json"})),
            ("inside/host.json", json!({"$ref": "https://example.org/a.json"})),
            ("inside/beside.json", json!({"$id": "https://example.org/b.json", "$ref": "a.json"})),
            ("inside/none.json", json!({"$ref": "gone.json"})),
            ("inside/etc.json", json!({"$ref": "file:///etc/hostname"})),
        ]);
        let base = folder.0.path().join("inside");
        for (name, part) in [
            ("up.json", "outside"),
            ("host.json", "example.org"),
            ("beside.json", "example.org"),
            ("none.json", "gone.json"),
            ("etc.json", "outside"),
        ] {
            let message = load(name, &base, &[]).unwrap_err();
            assert!(message.contains(part), "{name}: {message}");
        }
    }

    #[test]
    fn what_is_on_an_allowed_host_is_lacking_and_no_mistake() {
        let address = "https://example.org/a.json";
        for draft in [
            "http://json-schema.org/draft-04/schema#",
            "http://json-schema.org/draft-06/schema#",
            "http://json-schema.org/draft-07/schema#",
            "https://json-schema.org/draft/2019-09/schema",
            "https://json-schema.org/draft/2020-12/schema",
        ] {
            for fragment in ["", "#", "#/definitions/a", "#anchor"] {
                let schema = json!({"$schema": draft, "properties": {"a": {"$ref": format!("{address}{fragment}")}}});
                let folder = Folder::new(&[("schema.json", schema)]);
                let lacking = load("schema.json", folder.0.path(), &["example.org"]);
                assert_eq!(lacking, Ok(vec![address.to_owned()]), "{draft} {fragment}");
            }
        }
        // Also where nothing but an `$id` says that it is on a host.
        let schema = json!({"$id": "https://example.org/b.json", "$ref": "a.json", "$defs": {"a": {"$ref": "c.json"}}});
        let folder = Folder::new(&[("schema.json", schema)]);
        let lacking = load("schema.json", folder.0.path(), &["example.org"]).unwrap();
        assert_eq!(lacking, ["https://example.org/a.json", "https://example.org/c.json"]);
    }

    #[test]
    fn an_identifier_on_a_host_is_only_a_name() {
        let schema = json!({
            "$id": "https://example.org/schema.json",
            "$ref": "#/$defs/a",
            "$defs": {"a": {"$id": "a.json", "type": "string"}, "b": {"$ref": "a.json"}}
        });
        assert_eq!(Folder::new(&[("schema.json", schema)]).load("schema.json"), Ok(()));
    }
}
