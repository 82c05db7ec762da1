#![doc = include_str!("../README.md")]

mod config;
pub mod scanner;

use std::path::Path;

pub use config::Config;
use scanner::{Scanner, SyntaxError};
use tidegate_plugin_sdk::{
    Build, ErrorKind, FileHandle, Issue, OptionIssue, Plugin, PluginError, Validate, Verdict, async_trait, next_piece,
};

/// A file of at most this many bytes is read at once.
const SMALL: u64 = 64 * 1024;

/// The check. It holds no state but its options.
#[derive(Debug)]
pub struct Json {
    max_depth: usize,
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
        Ok(Self { max_depth: config.max_depth })
    }
}

#[async_trait]
impl Validate for Json {
    async fn validate(&self, file: &dyn FileHandle) -> Result<Verdict, PluginError> {
        let mut scanner = Scanner::new(self.max_depth);
        let scanned = if file.metadata().size <= SMALL {
            scan_at_once(&mut scanner, file).await?
        } else {
            scan_in_pieces(&mut scanner, file).await?
        };
        Ok(match scanned.and_then(|()| scanner.finish()) {
            Ok(()) => Verdict::Accept,
            Err(error) => Verdict::Reject(vec![issue(&error)]),
        })
    }
}

async fn scan_at_once(scanner: &mut Scanner, file: &dyn FileHandle) -> Result<Result<(), SyntaxError>, PluginError> {
    let size = file.metadata().size;
    let content = file.read_at(0, size as usize).await.map_err(|error| cannot_read(0, error))?;
    // Less than announced would pass as a document of its own, `1` of `12`.
    if content.len() as u64 != size {
        return Err(PluginError::permanent(
            ErrorKind::Read,
            format!("the content ends at {} of {size}", content.len()),
        ));
    }
    Ok(scanner.push(&content))
}

async fn scan_in_pieces(scanner: &mut Scanner, file: &dyn FileHandle) -> Result<Result<(), SyntaxError>, PluginError> {
    let size = file.metadata().size;
    let mut stream = file.stream();
    let mut read = 0;
    while let Some(piece) = next_piece(&mut stream).await {
        let piece = piece.map_err(|error| cannot_read(read, error))?;
        if let Err(error) = scanner.push(&piece) {
            return Ok(Err(error));
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
