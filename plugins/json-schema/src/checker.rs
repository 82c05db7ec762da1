//! Checks one document, in bounded memory: what a file in `json` is, and a line of one in `ndjson`.

use tidegate_plugin_sdk::units::ByteSize;
use tidegate_plugin_sdk::{ErrorKind, Issue, PluginError};

use crate::config::Config;
use crate::document::{Document, Unreadable};
use crate::memory::{Budget, Reservation};
use crate::report::Report;
use crate::schema::{Schema, Stack};

/// So many bytes are checked in less time than it takes to give them to another thread and wait, as a rule.
const SMALL: usize = 64 * 1024;

pub struct Checker {
    schema: Schema,
    budget: Budget,
    pub max_document: ByteSize,
    max_issues: usize,
    max_depth: usize,
}

impl Checker {
    pub fn new(schema: Schema, config: &Config) -> Self {
        Self {
            schema,
            budget: Budget::new(config.memory),
            max_document: config.max_document,
            max_issues: config.max_issues,
            max_depth: config.max_depth,
        }
    }

    /// Whether so many bytes are checked where others wait for the thread.
    pub fn checks_on_the_spot(&self, bytes: usize) -> bool {
        bytes <= SMALL && self.schema.is_linear && self.schema.stack == Stack::Ordinary
    }

    /// Where checks fit.
    pub fn stack(&self) -> Stack {
        self.schema.stack
    }

    pub fn report(&self) -> Report {
        Report::new(self.max_issues)
    }

    /// The memory for a document of this size. `what` it is stands in the error.
    pub fn reserve(&self, size: u64, what: &dyn std::fmt::Display) -> Result<Reservation, PluginError> {
        if size > self.max_document.get() {
            let context = format!("{what} is larger than the {} that `max_document` allows", self.max_document);
            return Err(PluginError::permanent(ErrorKind::Limit, context));
        }
        self.budget.reserve_for(size)
    }

    /// Adds what is wrong with a document to the report: all of it, or nothing if it is halted. `line` is where it stands in a file of lines.
    pub fn check(
        &self,
        text: &[u8],
        line: Option<u64>,
        memory: &mut Reservation,
        report: &mut Report,
    ) -> Result<(), PluginError> {
        let before = line.map_or(0, |line| line - 1);
        let at = |line: usize, column: usize| format!("{}:{column}", before + line as u64);
        let text = match simdutf8::compat::from_utf8(text) {
            Ok(text) => text,
            Err(error) => {
                let (line, column) = position(&text[..error.valid_up_to()]);
                let message = "this is not valid UTF-8".to_owned();
                report.push(Issue { path: at(line, column), code: "json-utf8".to_owned(), message });
                return Ok(());
            }
        };
        let arena = Document::arena(text.len());
        match Document::parse(text, &arena, self.max_depth, memory) {
            Ok(document) => {
                let prefix = line.map(|line| format!("{line}:")).unwrap_or_default();
                report.add_errors(&self.schema, &document, &prefix);
                Ok(())
            }
            Err(Unreadable::Syntax { line, column, message }) => {
                let message = format!("this is not JSON: {message}");
                report.push(Issue { path: at(line, column), code: "json-syntax".to_owned(), message });
                Ok(())
            }
            Err(Unreadable::TooDeep { line, column }) => {
                let message = format!("arrays and objects are nested deeper than {}", self.max_depth);
                report.push(Issue { path: at(line, column), code: "json-depth".to_owned(), message });
                Ok(())
            }
            Err(Unreadable::Memory(error)) => Err(error),
        }
    }
}

/// Line and column, in characters, of what follows valid bytes.
fn position(valid: &[u8]) -> (usize, usize) {
    let line = valid.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let begun = valid.len() - line.len();
    let lines = valid[..begun].iter().filter(|byte| **byte == b'\n').count();
    // Bytes that continue a character begin with the bits 10.
    let characters = line.iter().filter(|byte| **byte & 0b1100_0000 != 0b1000_0000).count();
    (lines + 1, characters + 1)
}
