#![doc = include_str!("../README.md")]

mod checker;
mod config;
mod document;
mod lines;
mod memory;
mod remote;
mod report;
mod schema;
mod view;
mod watch;

use std::path::Path;
use std::sync::Arc;

use checker::Checker;
pub use config::{Config, Format};
use lines::{Block, Gathered, Lines};
use remote::Remote;
use report::Report;
use schema::{Compiled, Hosts, Source};
use tidegate_plugin_sdk::{
    Build, ErrorKind, FileHandle, OptionIssue, Pieces, Plugin, PluginError, Validate, Verdict, async_trait,
    read_beginning,
};
use watch::{Caller, Halted};

/// The check of files against a schema.
pub struct JsonSchema {
    schema: Availability,
    format: Format,
}

/// Whether all that the schema refers to was there when the instance was made.
enum Availability {
    Compiled(Arc<Checker>),
    Remote(Remote),
}

#[async_trait]
impl Plugin for JsonSchema {
    async fn close(&self) {
        if let Availability::Remote(remote) = &self.schema {
            remote.stop();
        }
    }
}

impl Build for JsonSchema {
    const KIND: &'static str = "json-schema";
    type Config = Config;

    fn check(config: &Config, base: &Path) -> Vec<OptionIssue> {
        config.issues(base)
    }

    fn build(config: Config, base: &Path) -> Result<Self, PluginError> {
        let wrong = |message: String| PluginError::permanent(ErrorKind::Config, format!("schema: {message}"));
        let path = config.schema.as_deref().ok_or_else(|| wrong("is missing".to_owned()))?;
        let (hosts, _) = Hosts::parse(&config.allowed_hosts);
        let source = Source::read(path, base, hosts).map_err(wrong)?;
        let format = config.format;
        let schema = match source.compile(Arc::default(), config.max_depth).map_err(wrong)? {
            Compiled::Whole(schema) => Availability::Compiled(Arc::new(Checker::new(schema, &config))),
            Compiled::Lacking(_) => Availability::Remote(Remote::new(source, config)),
        };
        Ok(Self { schema, format })
    }
}

#[async_trait]
impl Validate for JsonSchema {
    async fn validate(&self, file: &dyn FileHandle) -> Result<Verdict, PluginError> {
        let checker = match &self.schema {
            Availability::Compiled(checker) => checker,
            Availability::Remote(remote) => &remote.checker().await?,
        };
        match self.format {
            Format::Json => check_document(checker, file).await,
            Format::Ndjson => check_lines(checker, file).await,
        }
    }
}

async fn check_document(checker: &Arc<Checker>, file: &dyn FileHandle) -> Result<Verdict, PluginError> {
    let size = file.metadata().size;
    let mut memory = checker.reserve(size, &"the file")?;
    let content = read_beginning(file, size as usize).await?;
    let check = move |checker: &Checker, report: &mut Report| checker.check(&content, None, &mut memory, report);
    run(checker, size as usize, checker.report(), check).await?.verdict()
}

async fn check_lines(checker: &Arc<Checker>, file: &dyn FileHandle) -> Result<Verdict, PluginError> {
    let mut report = checker.report();
    let mut lines = Lines::default();
    let mut pieces = Pieces::of(file);
    while !report.is_complete() {
        let gathered = match pieces.next().await {
            Ok(Some(piece)) => lines.push(checker, &piece),
            Ok(None) => break,
            Err(error) => Gathered::failed(error),
        };
        for block in gathered.blocks {
            report = check_block(checker, block, report).await?;
        }
        if let Some(failure) = gathered.failure {
            report.fail(failure);
        }
    }
    if !report.is_complete()
        && let Some(block) = lines.finish()
    {
        report = check_block(checker, block, report).await?;
    }
    report.verdict()
}

async fn check_block(checker: &Arc<Checker>, mut block: Block, report: Report) -> Result<Report, PluginError> {
    let size = block.size();
    run(checker, size, report, move |checker, report| block.check(checker, report)).await
}

/// Small work here, and what is not done then where it holds nobody up, as long as the caller is there. The work is begun anew then.
async fn run(
    checker: &Arc<Checker>,
    size: usize,
    mut report: Report,
    mut work: impl FnMut(&Checker, &mut Report) -> Result<(), PluginError> + Send + 'static,
) -> Result<Report, PluginError> {
    if checker.checks_on_the_spot(size)
        && let Ok(done) = watch::on_the_spot(|| work(checker, &mut report))
    {
        done.unwrap_or_else(|failure| report.fail(failure));
        return Ok(report);
    }
    let checker = checker.clone();
    let caller = Caller::new();
    let waiting = caller.waiting();
    let elsewhere = tokio::task::spawn_blocking(move || {
        let done = checker.stack().run(|| watch::while_waited_for(waiting, || work(&checker, &mut report)));
        let failure = match done {
            Ok(Ok(done)) => done.err(),
            // Nobody is there to read it.
            Ok(Err(Halted)) => Some(PluginError::retryable(ErrorKind::Internal, "the check was halted")),
            Err(error) => {
                Some(PluginError::retryable(ErrorKind::Limit, "there is no thread for the check").caused_by(error))
            }
        };
        failure.into_iter().for_each(|failure| report.fail(failure));
        report
    });
    let ended = elsewhere.await;
    drop(caller);
    ended.map_err(|error| PluginError::permanent(ErrorKind::Internal, "the check did not end").caused_by(error))
}
