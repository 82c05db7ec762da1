#![doc = include_str!("../README.md")]

mod config;
pub mod duplicates;
pub mod scanner;

use std::path::Path;

pub use config::{Config, DuplicateKeys};
use duplicates::{KeyError, Keys};
use scanner::{Scanner, SyntaxError};
use tidegate_plugin_sdk::{
    Build, ErrorKind, FileHandle, Issue, OptionIssue, Pieces, Plugin, PluginError, Validate, Verdict, async_trait,
    read_beginning,
};

/// A file of at most this many bytes is read at once.
const SMALL: u64 = 64 * 1024;

/// The check. It holds no state but its options.
#[derive(Debug)]
pub struct Json {
    config: Config,
}

#[async_trait]
impl Plugin for Json {}

impl Build for Json {
    const KIND: &'static str = "json";
    type Config = Config;

    fn check(config: &Config, _base: &Path) -> Vec<OptionIssue> {
        config.issues()
    }

    fn build(config: Config, _base: &Path) -> Result<Self, PluginError> {
        Ok(Self { config })
    }
}

#[async_trait]
impl Validate for Json {
    async fn validate(&self, file: &dyn FileHandle) -> Result<Verdict, PluginError> {
        let mut look = Look::new(&self.config);
        let found = match file.metadata().size <= SMALL {
            true => look_at_once(&mut look, file).await?,
            false => look_in_pieces(&mut look, file).await?,
        };
        Ok(match found.and_then(|()| look.finish()) {
            Ok(()) => Verdict::Accept,
            Err(Wrong::Here(issue)) => Verdict::Reject(vec![issue]),
            Err(Wrong::TooManyKeys) => {
                let most = self.config.max_keys;
                let context = format!("look for duplicate keys: more than {most} in open objects (max_keys)");
                return Err(PluginError::permanent(ErrorKind::Limit, context));
            }
        })
    }
}

/// One look at a document: at its grammar, and at its keys where that is asked for.
struct Look {
    scanner: Scanner,
    keys: Option<Keys>,
}

/// Why a document is not accepted.
enum Wrong {
    Here(Issue),
    TooManyKeys,
}

impl Look {
    fn new(config: &Config) -> Self {
        let keys = match config.duplicate_keys {
            DuplicateKeys::Allow => None,
            DuplicateKeys::Reject => Some(Keys::new(config.max_keys)),
        };
        Self { scanner: Scanner::new(config.max_depth), keys }
    }

    fn push(&mut self, piece: &[u8]) -> Result<(), Wrong> {
        // A duplicate in front of a syntax error in the same piece goes unnamed: the grammar comes first.
        self.scanner.push(piece).map_err(|error| Wrong::Here(issue(&error)))?;
        match &mut self.keys {
            None => Ok(()),
            Some(keys) => keys.push(piece).map_err(|error| match error {
                KeyError::TooMany => Wrong::TooManyKeys,
                KeyError::Duplicate { key, line, column } => Wrong::Here(Issue {
                    path: format!("{line}:{column}"),
                    code: "json-duplicate-key".to_owned(),
                    message: format!("the key `{key}` stands twice in one object, at line {line}, column {column}"),
                }),
            }),
        }
    }

    fn finish(self) -> Result<(), Wrong> {
        self.scanner.finish().map_err(|error| Wrong::Here(issue(&error)))
    }
}

async fn look_at_once(look: &mut Look, file: &dyn FileHandle) -> Result<Result<(), Wrong>, PluginError> {
    let content = read_beginning(file, file.metadata().size as usize).await?;
    Ok(look.push(&content))
}

async fn look_in_pieces(look: &mut Look, file: &dyn FileHandle) -> Result<Result<(), Wrong>, PluginError> {
    let mut pieces = Pieces::of(file);
    while let Some(piece) = pieces.next().await? {
        if let Err(wrong) = look.push(&piece) {
            return Ok(Err(wrong));
        }
    }
    Ok(Ok(()))
}

fn issue(error: &SyntaxError) -> Issue {
    let position = error.position;
    Issue {
        path: format!("{}:{}", position.line, position.column),
        code: error.code().to_owned(),
        message: error.to_string(),
    }
}
