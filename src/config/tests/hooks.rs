//! Plugins and the uses of them: what is read, and what is said against them.

use std::fs;

use super::Bench;
use crate::collection::{OnCheckFailure, OnFollowUpFailure};

#[test]
fn plugins_are_declared_with_their_options_and_checked_at_their_places() {
    let bench = Bench::new(
        r#"
[plugin.comptes]
kind = "schema"
schema = "comptes.json"
[plugin.lost]
kind = "schema"
schema = "lost.json"
limits = { depth = 0 }
[plugin.bare]
kind = "schema"
[plugin.odd]
kind = "jason"
[plugin.kindless]
schema = "x"
[storage.s]
service = "memory"
[collection.c]
storage = "s"
path = "{file_name}"
validate = ["comptes", "schema", "json", { plugin = "compts" }, { plugin = "json", files = "{a", on_failure = "drop" }]
"#,
    );
    fs::write(bench.at("comptes.json"), "{}").unwrap();
    let errors = bench.errors();
    for expected in [
        "7:10 plugin.lost.schema: no file lost.json",
        "8:20 plugin.lost.limits.depth: too small",
        "9:9 plugin.bare: `schema`: name the file",
        "12:8 plugin.odd.kind: there is no plugin of the kind `jason`",
        "collection.c.validate[1]: the plugin `schema` takes options: `schema`: name the file",
        "collection.c.validate[3].plugin: there is no plugin `compts`",
        "is no pattern of file names",
    ] {
        assert!(errors.iter().any(|error| error.contains(expected)), "{expected}\n{errors:#?}");
    }
    assert!(errors.iter().any(|error| error.contains("kindless") && error.contains("kind")), "{errors:#?}");
    assert_eq!(errors.len(), 9, "{errors:#?}");
}

#[test]
fn a_use_has_names_of_files_and_what_a_failure_means() {
    let bench = Bench::new(
        r#"
[storage.s]
service = "memory"
[collection.c]
storage = "s"
path = "{file_name}"
validate = [{ plugin = "json", files = "comptes_*.{json,JSON}", timeout = "5s", on_failure = "accept" }, "json"]
"#,
    );
    let config = bench.config();
    let [first, second] = &*config.collections["c"].validate else { panic!("two uses") };
    assert!(first.is_for("comptes_2024.json") && first.is_for("comptes_.JSON") && !first.is_for("bilan.json"));
    assert!(second.is_for("bilan.json"));
    assert_eq!((first.on_failure, second.on_failure), (OnCheckFailure::Accept, OnCheckFailure::Reject));
}

/// Everything that can be wrong with a use, each at its own place.
#[test]
fn hooks_stand_where_their_plugins_serve() {
    let text = r#"[storage.s]
service = "memory"
[collection.c]
storage = "s"
path = "{tenant}/{file_name}"
admit = ["json", { plugin = "hook", on_failure = "accept" }, { plugin = "hook", retry = ["20s", "18446744073709551615s"], timeout = "61s" }]
validate = [{ plugin = "hook", on_failure = "dead-letter" }, { plugin = "hook", retry = ["5s", 5] }]
post_assembly = ["hook", "json", { plugin = "other", retry = [] }, "hook", { plugin = "third", on_failure = "drop" }]
[collection.d]
storage = "t"
path = "d/{file_name}"
admit = ["other"]
[plugin.other]
kind = "hook"
content = true
[plugin.third]
kind = "schema"
schema = "there"
[storage.t]
service = "memory"
"#;
    let said = Bench::new(text).errors();
    assert_eq!(
        said,
        [
            "6:10 collection.c.admit[0]: the plugin `json` cannot be used at `admit`",
            "6:50 collection.c.admit[1].on_failure: `accept` is not among the values here",
            "6:89 collection.c.admit[2].retry: at `admit` somebody waits: the waits of `retry` may add up to 30s at most",
            "6:133 collection.c.admit[2].timeout: at `admit` somebody waits: the timeout may be 1m at most",
            "7:45 collection.c.validate[0].on_failure: `dead-letter` is not among the values here",
            "7:96 collection.c.validate[1].retry[1]: `5` has no unit: write `5s` for seconds; there are ms, s, m, h and d",
            "8:26 collection.c.post_assembly[1]: the plugin `json` cannot be used at `post_assembly`",
            "8:68 collection.c.post_assembly[3]: `hook` stands in the list twice",
            "8:87 collection.c.post_assembly[4].plugin: the plugin `schema` cannot be used at `post_assembly`",
            "12:10 collection.d.admit[0]: `other` cannot be used here: there is no content yet",
            "18:10 plugin.third.schema: no file there",
        ]
    );
}

#[test]
fn a_use_after_publication_is_tried_for_three_days_unless_it_says_otherwise() {
    let text = r#"[storage.s]
service = "memory"
[collection.c]
storage = "s"
path = "{tenant}/{file_name}"
admit = ["hook"]
post_assembly = ["hook", { plugin = "other", retry = ["5s"], timeout = "10s", on_failure = "drop" }]
[plugin.other]
kind = "hook"
"#;
    let config = Bench::new(text).config();
    let collection = &config.collections["c"];
    let [first, second] = &*collection.post_assembly else { panic!("two uses") };
    let hours: u64 = first.retry.iter().map(std::time::Duration::as_secs).sum::<u64>() / 3600;
    assert_eq!((first.retry.len(), hours, first.on_failure), (9, 75, OnFollowUpFailure::DeadLetter));
    assert_eq!((second.retry.len(), second.timeout.as_secs(), second.on_failure), (1, 10, OnFollowUpFailure::Drop));
    assert_eq!((collection.admit[0].retry.len(), collection.admit[0].timeout.as_secs()), (0, 10));
    assert_eq!(collection.follow_ups("a.json").len(), 2);
}
