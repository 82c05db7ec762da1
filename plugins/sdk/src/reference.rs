//! The reference of a plugin's options, made of its configuration type: what stands in the plugin's README is what the code takes.

use std::fmt::Write;

use schemars::{JsonSchema, schema_for};
use serde_json::Value;

/// A Markdown table of the options of `C`: name, type, default, and the doc comment. A plugin's test compares its README with it
/// by [`assert_documented`].
pub fn options_reference<C: JsonSchema>() -> String {
    let schema = schema_for!(C).to_value();
    let mut table = "| option | type | default | |\n|---|---|---|---|\n".to_owned();
    for (name, option) in schema["properties"].as_object().into_iter().flatten() {
        let default = match &option["default"] {
            Value::Null => "none".to_owned(),
            default => format!("`{default}`"),
        };
        let description = option["description"].as_str().unwrap_or_default().replace('\n', " ");
        let kind = kind_of(option, &schema["$defs"]);
        let _ = writeln!(table, "| `{name}` | {kind} | {default} | {description} |");
    }
    table
}

/// Fails where `readme` has not the table of [`options_reference`], and says what to put there.
pub fn assert_documented<C: JsonSchema>(readme: &str) {
    let table = options_reference::<C>();
    assert!(readme.contains(&table), "the README has not the options as they are; put there:\n\n{table}");
}

fn kind_of(option: &Value, definitions: &Value) -> String {
    if let Some(name) = option["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
        return kind_of(&definitions[name], definitions);
    }
    let choices = ["oneOf", "anyOf"].iter().find_map(|key| option[*key].as_array());
    if let Some(choices) = choices {
        let kinds: Vec<String> = choices.iter().map(|choice| kind_of(choice, definitions)).collect();
        return kinds.into_iter().filter(|kind| kind != "null").collect::<Vec<_>>().join(" or ");
    }
    if let Some(value) = option["const"].as_str() {
        return format!("`\"{value}\"`");
    }
    if let Some(values) = option["enum"].as_array() {
        return values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(" or ");
    }
    let name = match &option["type"] {
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null").unwrap_or_default(),
        name => name.as_str().unwrap_or_default(),
    };
    match name {
        "array" => format!("list of {}", kind_of(&option["items"], definitions)),
        "object" => "table".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::{Deserialize, Serialize};

    #[derive(Default, Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "kebab-case")]
    enum Shade {
        #[default]
        DarkRed,
        Green,
    }

    #[derive(Default, Serialize, Deserialize, JsonSchema)]
    #[serde(default)]
    struct Options {
        /// How many
        /// there are.
        count: u32,
        shade: Shade,
        names: Vec<String>,
        /// May be left out.
        path: Option<String>,
    }

    #[test]
    fn is_a_table_of_all_options() {
        let expected = "| option | type | default | |\n|---|---|---|---|\n\
            | `count` | integer | `0` | How many there are. |\n\
            | `names` | list of string | `[]` |  |\n\
            | `path` | string | none | May be left out. |\n\
            | `shade` | `\"dark-red\"` or `\"green\"` | `\"dark-red\"` |  |\n";
        assert_eq!(options_reference::<Options>(), expected);
        assert_documented::<Options>(&format!("# Options\n\n{expected}\nMore."));
    }
}
