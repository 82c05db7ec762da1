#![doc = include_str!("../README.md")]

mod config;
pub mod duplicates;
pub mod scanner;

use std::path::Path;

pub use config::{Config, DuplicateKeys};
use duplicates::{KeyError, Keys};
use scanner::{Scanner, SyntaxError};
use tidegate_plugin_sdk::{
    Build, ErrorKind, FileHandle, Issue, OptionIssue, Plugin, PluginError, Validate, Verdict, async_trait, next_piece,
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
    let size = file.metadata().size;
    let content = file.read_at(0, size as usize).await.map_err(|error| cannot_read(0, error))?;
    // Less than announced would pass as a document of its own, `1` of `12`.
    if content.len() as u64 != size {
        return Err(PluginError::permanent(
            ErrorKind::Read,
            format!("the content ends at {} of {size}", content.len()),
        ));
    }
    Ok(look.push(&content))
}

async fn look_in_pieces(look: &mut Look, file: &dyn FileHandle) -> Result<Result<(), Wrong>, PluginError> {
    let size = file.metadata().size;
    let mut stream = file.stream();
    let mut read = 0;
    while let Some(piece) = next_piece(&mut stream).await {
        let piece = piece.map_err(|error| cannot_read(read, error))?;
        if let Err(wrong) = look.push(&piece) {
            return Ok(Err(wrong));
        }
        read += piece.len() as u64;
    }
    if read != size {
        return Err(PluginError::permanent(ErrorKind::Read, format!("the content ends at {read} of {size}")));
    }
    Ok(Ok(()))
}

fn cannot_read(offset: u64, error: std::io::Error) -> PluginError {
    PluginError::read(format!("could not read the content at byte {offset}"), error)
}

fn issue(error: &SyntaxError) -> Issue {
    let position = error.position;
    Issue {
        path: format!("{}:{}", position.line, position.column),
        code: error.code().to_owned(),
        message: error.to_string(),
    }
}
