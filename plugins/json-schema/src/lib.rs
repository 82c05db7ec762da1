#![doc = include_str!("../README.md")]

mod checker;
mod config;
mod document;
mod lines;
mod memory;
mod report;
mod schema;
mod view;

use std::path::Path;
use std::sync::Arc;

use checker::Checker;
pub use config::{Config, Format};
use lines::Lines;
use report::Report;
use schema::Schema;
use tidegate_plugin_sdk::{
    Build, ErrorKind, FileHandle, OptionIssue, Pieces, Plugin, PluginError, Validate, Verdict, async_trait,
    read_beginning,
};

/// So many bytes are checked in less time than it takes to give them to another thread and wait.
const SMALL: u64 = 64 * 1024;

/// The check: a compiled schema, and the memory that its documents may take.
pub struct JsonSchema {
    checker: Arc<Checker>,
    format: Format,
}

#[async_trait]
impl Plugin for JsonSchema {}

impl Build for JsonSchema {
    const KIND: &'static str = "json-schema";
    type Config = Config;

    fn check(config: &Config, base: &Path) -> Vec<OptionIssue> {
        config.issues(base)
    }

    fn build(config: Config, base: &Path) -> Result<Self, PluginError> {
        let wrong = |message: String| PluginError::permanent(ErrorKind::Config, format!("schema: {message}"));
        let path = config.schema.as_deref().ok_or_else(|| wrong("is missing".to_owned()))?;
        let schema = Schema::load(path, base).map_err(wrong)?;
        Ok(Self { checker: Arc::new(Checker::new(schema, &config)), format: config.format })
    }
}

#[async_trait]
impl Validate for JsonSchema {
    async fn validate(&self, file: &dyn FileHandle) -> Result<Verdict, PluginError> {
        match self.format {
            Format::Json => self.check_document(file).await,
            Format::Ndjson => self.check_lines(file).await,
        }
    }
}

impl JsonSchema {
    async fn check_document(&self, file: &dyn FileHandle) -> Result<Verdict, PluginError> {
        let size = file.metadata().size;
        let mut memory = self.checker.reserve(size, &"the file")?;
        let content = read_beginning(file, size as usize).await?;
        let checker = self.checker.clone();
        let report = run(size, self.checker.report(), move |report| checker.check(&content, None, &mut memory, report));
        Ok(report.await?.verdict())
    }

    async fn check_lines(&self, file: &dyn FileHandle) -> Result<Verdict, PluginError> {
        let mut report = self.checker.report();
        let mut lines = Lines::default();
        let mut pieces = Pieces::of(file);
        while let Some(piece) = pieces.next().await? {
            for block in lines.push(&self.checker, &piece)? {
                report = self.check_block(block, report).await?;
            }
            if report.is_complete() {
                return Ok(report.verdict());
            }
        }
        if let Some(block) = lines.finish() {
            report = self.check_block(block, report).await?;
        }
        Ok(report.verdict())
    }

    async fn check_block(&self, block: lines::Block, report: Report) -> Result<Report, PluginError> {
        let checker = self.checker.clone();
        run(block.bytes.len() as u64, report, move |report| lines::check(&checker, block, report)).await
    }
}

/// Small work here, large work where it holds nobody up. That goes on if the caller is dropped, and holds its memory until it ends.
async fn run(
    size: u64,
    mut report: Report,
    work: impl FnOnce(&mut Report) -> Result<(), PluginError> + Send + 'static,
) -> Result<Report, PluginError> {
    let work = move || work(&mut report).map(|()| report);
    if size <= SMALL {
        return work();
    }
    let ended = tokio::task::spawn_blocking(work).await;
    ended.map_err(|error| PluginError::permanent(ErrorKind::Internal, "the check did not end").caused_by(error))?
}
