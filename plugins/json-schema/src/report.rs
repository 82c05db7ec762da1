//! What is wrong with a file, as its sender is told: bounded in number and in length.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde_json::Value;
use tidegate_plugin_sdk::{Issue, PluginError, Verdict};

use crate::document::Document;
use crate::schema::Schema;
use crate::view::{Meter, View, is_within};
use crate::watch::is_halt;

/// About as much memory may the errors of one document take.
const ERRORS: usize = 4 << 20;
/// What an error takes beside its path.
const ERROR: usize = 512;
/// A path or a quoted part that is longer is cut, in bytes.
const LONGEST_PATH: usize = 1024;
const LONGEST_PART: usize = 120;
/// So many names are listed.
const NAMES: usize = 5;

const TOO_COMPLEX: &str = "the string is too complex to match its pattern against";

/// The issues of a file.
#[derive(Debug)]
pub struct Report {
    issues: Vec<Issue>,
    max_issues: usize,
    has_more: bool,
    /// Why the rest of the file could not be checked.
    failure: Option<PluginError>,
}

impl Report {
    pub fn new(max_issues: usize) -> Self {
        Self { issues: Vec::new(), max_issues, has_more: false, failure: None }
    }

    pub fn push(&mut self, issue: Issue) {
        if self.issues.len() < self.max_issues {
            self.issues.push(issue);
        } else {
            self.has_more = true;
        }
    }

    /// What comes next cannot be checked.
    pub fn fail(&mut self, failure: PluginError) {
        self.failure.get_or_insert(failure);
    }

    /// Whether nothing that comes changes anything.
    pub fn is_complete(&self) -> bool {
        self.has_more || self.failure.is_some()
    }

    /// A file that is known to be wrong is rejected, whatever was the matter with the rest of it.
    pub fn verdict(mut self) -> Result<Verdict, PluginError> {
        let (has_more, failure) = (self.is_complete(), self.failure);
        if self.issues.is_empty() {
            return failure.map_or(Ok(Verdict::Accept), Err);
        }
        if has_more {
            let message = "the list of issues ends here, and there may be more".to_owned();
            self.issues.push(Issue { path: String::new(), code: "schema-more".to_owned(), message });
        }
        Ok(Verdict::Reject(self.issues))
    }

    /// Adds what the schema says against a document: all of it, or nothing if the check is halted. `prefix` stands before each path.
    pub fn add_errors(&mut self, schema: &Schema, document: &Document<'_>, prefix: &str) {
        let validator = &schema.validator;
        let unlimited = Meter::new(usize::MAX);
        if validator.is_valid(View::new(&document.root, &unlimited)) {
            return;
        }
        let mut meter = Meter::new((ERRORS / (document.longest_path + ERROR)).max(1));
        if !schema.is_linear {
            meter = meter.with_shape(&document.root, ERRORS);
        }
        let made = catch_unwind(AssertUnwindSafe(|| validator.iter_errors(View::new(&document.root, &meter))));
        let is_too_complex = made.is_err() && !schema.is_linear;
        let errors = match made {
            Ok(errors) => Some(errors),
            Err(panic) if is_halt(&*panic) => resume_unwind(panic),
            // The document is wrong, whatever becomes of the list: as a rule the place of a text that is too complex was not found.
            Err(_) => None,
        };
        let mut listed = false;
        let mut first = None;
        for error in errors.into_iter().flatten() {
            if is_within(&error) {
                self.push(issue(&error, prefix));
                listed = true;
            } else if first.is_none() {
                first = Some(issue(&error, prefix));
            }
        }
        if !listed {
            // One error that is made of more than the bound, as `anyOf` of what each of its schemas says.
            let (code, message) = match is_too_complex {
                true => ("schema-pattern", TOO_COMPLEX),
                false => ("schema-invalid", "the document does not match the schema"),
            };
            let other = || Issue { path: prefix.to_owned(), code: code.to_owned(), message: message.to_owned() };
            self.push(first.unwrap_or_else(other));
        }
        self.has_more |= meter.is_exceeded();
    }
}

fn issue(error: &ValidationError<'_>, prefix: &str) -> Issue {
    Issue {
        path: format!("{prefix}{}", cut(error.instance_path().as_str(), LONGEST_PATH)),
        code: code(error.kind().keyword()),
        message: message(error.kind()),
    }
}

/// `schema-additional-properties` of `additionalProperties`.
fn code(keyword: &str) -> String {
    let mut code = "schema-".to_owned();
    for character in keyword.chars().filter(char::is_ascii_alphanumeric) {
        if character.is_ascii_uppercase() {
            code.push('-');
        }
        code.push(character.to_ascii_lowercase());
    }
    code
}

fn message(kind: &ValidationErrorKind) -> String {
    use ValidationErrorKind as Kind;
    match kind {
        Kind::AdditionalItems { limit } => format!("there are more than the {limit} items that are allowed"),
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            format!("there are properties that are not allowed: {}", names(unexpected))
        }
        Kind::UnevaluatedItems { .. } => "there are items that are not allowed".to_owned(),
        Kind::AnyOf { .. } => "the value matches none of the schemas of `anyOf`".to_owned(),
        Kind::OneOfNotValid { .. } => "the value matches none of the schemas of `oneOf`".to_owned(),
        Kind::OneOfMultipleValid { .. } => "the value matches more than one of the schemas of `oneOf`".to_owned(),
        Kind::Not { .. } => "the value matches a schema that it must not match".to_owned(),
        Kind::Constant { expected_value } => format!("the value must be {}", shown(expected_value)),
        Kind::Enum { options } => format!("the value must be one of {}", shown(options)),
        Kind::Contains => "the array has not the items that it must contain".to_owned(),
        Kind::ContentEncoding { content_encoding } => {
            format!("the string is not encoded as {}", quoted(content_encoding))
        }
        Kind::FromUtf8 { .. } => "the string decodes to bytes that are not UTF-8".to_owned(),
        Kind::ContentMediaType { content_media_type } => format!("the string is not {}", quoted(content_media_type)),
        Kind::FalseSchema => "the schema allows no value here".to_owned(),
        Kind::Format { format } => format!("the value is not of the format {}", quoted(format)),
        Kind::Minimum { limit } => format!("the number must be at least {}", shown(limit)),
        Kind::Maximum { limit } => format!("the number must be at most {}", shown(limit)),
        Kind::ExclusiveMinimum { limit } => format!("the number must be more than {}", shown(limit)),
        Kind::ExclusiveMaximum { limit } => format!("the number must be less than {}", shown(limit)),
        Kind::MultipleOf { multiple_of } => format!("the number must be a multiple of {multiple_of}"),
        Kind::MinLength { limit } => format!("the string must have at least {limit} characters"),
        Kind::MaxLength { limit } => format!("the string must have at most {limit} characters"),
        Kind::MinItems { limit } => format!("the array must have at least {limit} items"),
        Kind::MaxItems { limit } => format!("the array must have at most {limit} items"),
        Kind::MinProperties { limit } => format!("the object must have at least {limit} properties"),
        Kind::MaxProperties { limit } => format!("the object must have at most {limit} properties"),
        Kind::UniqueItems => "two items of the array are equal".to_owned(),
        Kind::Pattern { pattern } => format!("the string does not match the pattern {}", quoted(pattern)),
        Kind::BacktrackLimitExceeded { .. } | Kind::RegexEngineFailure { .. } => TOO_COMPLEX.to_owned(),
        Kind::PropertyNames { error } => format!("the name of a property is not allowed: {}", message(error.kind())),
        Kind::Required { property } => match property.as_str() {
            Some(name) => format!("the property {} is missing", quoted(name)),
            None => "a property is missing".to_owned(),
        },
        Kind::Type { kind } => match kind {
            TypeKind::Single(kind) => format!("the value must be of the type {kind}"),
            TypeKind::Multiple(kinds) => {
                let kinds: Vec<_> = kinds.iter().map(|kind| kind.to_string()).collect();
                format!("the value must be of one of the types {}", kinds.join(", "))
            }
        },
        Kind::Custom { .. } | Kind::Referencing(_) => "the value does not match the schema".to_owned(),
    }
}

fn names(names: &[String]) -> String {
    let mut listed: Vec<_> = names.iter().take(NAMES).map(|name| quoted(name)).collect();
    if names.len() > NAMES {
        listed.push(format!("and {} more", names.len() - NAMES));
    }
    listed.join(", ")
}

fn quoted(part: &str) -> String {
    format!("`{}`", cut(part, LONGEST_PART))
}

/// A value of the schema.
fn shown(value: &Value) -> String {
    cut(&value.to_string(), LONGEST_PART)
}

/// At most so many bytes of a text, and a sign that it was longer.
pub fn cut(text: &str, length: usize) -> String {
    if text.len() <= length {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(length)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_the_keyword_in_lower_case_with_hyphens() {
        for (keyword, expected) in
            [("type", "schema-type"), ("additionalProperties", "schema-additional-properties"), ("$ref", "schema-ref")]
        {
            assert_eq!(code(keyword), expected);
        }
    }

    #[test]
    fn what_is_long_is_cut_between_characters() {
        assert_eq!(cut("été", 4), "ét…");
        assert_eq!(names(&["a".repeat(200), "b".to_owned()]), format!("`{}…`, `b`", "a".repeat(120)));
        assert!(names(&vec!["a".to_owned(); 7]).ends_with("and 2 more"));
    }
}
