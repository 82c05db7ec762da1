#![doc = include_str!("../README.md")]

mod answer;
mod config;
mod content;
mod folder;
mod leader;
mod limits;
#[cfg(target_os = "linux")]
mod orphans;
mod places;
mod program;
mod run;
mod stragglers;

use std::path::{Path, PathBuf};
use std::time::Duration;

use answer::{Answer, for_the_log, rejection};
pub use config::{Config, Environment};
use content::Content;
use folder::{CONTENT, HOME};
use limits::Limits;
use places::Places;
use program::Program;
use run::Run;
use serde::Serialize;
use stragglers::MARK;
use tidegate_plugin_sdk::wire::Question;
use tidegate_plugin_sdk::{
    Admission, Admit, Announcement, Build, ErrorKind, FileHandle, FollowUp, OptionIssue, Plugin, PluginError,
    PostAssembly, Publication, Stage, Validate, Verdict, async_trait,
};
use tokio::sync::OwnedSemaphorePermit;
use tracing::Instrument;

/// How long the end of the gateway waits for the last folders to be removed.
const LAST_REMOVALS: Duration = Duration::from_secs(5);

/// An instance: a program that is run for each question.
pub struct Command {
    config: Config,
    program: Program,
    temp_dir: PathBuf,
    places: Places,
}

/// A question as the command reads it.
#[derive(Serialize)]
struct Asked<'a> {
    #[serde(flatten)]
    question: Question<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a Path>,
}

/// What came of a question.
struct Heard {
    answer: Result<Answer, PluginError>,
    complaints: String,
    /// Whether the command wrote to the very file that it was shown.
    is_spoiled: bool,
}

#[async_trait]
impl Plugin for Command {
    /// There is no run any more, but perhaps a folder that is still being removed.
    async fn close(&self) {
        let _ = tokio::time::timeout(LAST_REMOVALS, self.places.all_free()).await;
    }

    fn at_once(&self) -> Option<usize> {
        Some(self.config.at_once)
    }
}

impl Build for Command {
    const KIND: &'static str = "command";
    type Config = Config;

    fn check(config: &Config, base: &Path) -> Vec<OptionIssue> {
        config.issues(base)
    }

    fn check_at(config: &Config, stage: Stage) -> Option<String> {
        let wants_content = config.command.iter().skip(1).any(|argument| argument.contains(program::PATH));
        let message = || format!("`command` has a {} in it, and there is no content yet at `{stage}`", program::PATH);
        (stage == Stage::Admit && wants_content).then(message)
    }

    fn build(config: Config, base: &Path) -> Result<Self, PluginError> {
        let wrong =
            |option: &str, message: String| PluginError::permanent(ErrorKind::Config, format!("{option}: {message}"));
        let program =
            Program::find(&config.command, base, config.search()).map_err(|message| wrong("command", message))?;
        let temp_dir = config.temp_dir(base).map_err(|error| wrong("temp_dir", error.to_string()))?;
        folder::sweep(&temp_dir);
        let places = Places::new(config.at_once);
        Ok(Self { config, program, temp_dir, places })
    }
}

#[async_trait]
impl Admit for Command {
    async fn admit(&self, file: &Announcement) -> Result<Admission, PluginError> {
        let Announcement { id, collection, tenant, file_name, .. } = file;
        let span = tracing::info_span!("command", stage = "admit", id, collection, tenant, file_name);
        let asked = async {
            let place = self.places.take(Stage::Admit, collection).await?;
            self.ask(Question::admit(file), None, place).await?.read(Answer::admission)
        };
        asked.instrument(span).await
    }
}

#[async_trait]
impl Validate for Command {
    async fn validate(&self, file: &dyn FileHandle) -> Result<Verdict, PluginError> {
        let metadata = file.metadata();
        let span = span("validate", metadata);
        let asked = async {
            let place = self.places.take(Stage::Validate, &metadata.collection).await?;
            let heard = self.ask(Question::validate(metadata), self.content_of(file), place).await?;
            // Not an error, for which a hook may be set to accept: what would be accepted is not what came.
            match heard.is_spoiled {
                true => Ok(rejection("command-changed-file", "the check changed the file while it looked at it")),
                false => heard.read(Answer::verdict),
            }
        };
        asked.instrument(span).await
    }
}

#[async_trait]
impl PostAssembly for Command {
    async fn follow_up(&self, file: &dyn FileHandle, publication: &Publication) -> Result<FollowUp, PluginError> {
        let metadata = file.metadata();
        let span = span("post_assembly", metadata);
        let asked = async {
            let question = Question::post_assembly(metadata, publication);
            let place = self.places.take(Stage::PostAssembly, &metadata.collection).await?;
            let heard = self.ask(question, self.content_of(file), place).await?;
            match heard.is_spoiled {
                true => Ok(FollowUp::give_up("the command changed the published file")),
                false => heard.read(Answer::follow_up),
            }
        };
        match asked.instrument(span).await {
            // A program that is missing while somebody replaces it is there again at the next attempt: what is owed is not lost by it.
            Err(error) if error.kind == ErrorKind::Config => Ok(FollowUp::retry(error.to_string())),
            answer => answer,
        }
    }

    fn reads_content(&self) -> bool {
        self.config.content
    }
}

impl Command {
    fn content_of<'a>(&self, file: &'a dyn FileHandle) -> Option<&'a dyn FileHandle> {
        self.config.content.then_some(file)
    }

    async fn ask(
        &self,
        question: Question<'_>,
        file: Option<&dyn FileHandle>,
        place: OwnedSemaphorePermit,
    ) -> Result<Heard, PluginError> {
        if file.is_none() && self.program.wants_path() {
            let context = format!("an argument has {} in it, and there is no content at this stage", program::PATH);
            return Err(PluginError::permanent(ErrorKind::Config, context));
        }
        let broken = |context: &str| PluginError::permanent(ErrorKind::Internal, context);
        let run = Run::prepare(self.temp_dir.clone(), place).await?;
        let folder = run.folder().join(CONTENT);
        let content = match file {
            Some(file) => Some(Content::provide(file, &folder, self.config.copy_content).await?),
            None => None,
        };
        let path = content.as_ref().map(|content| content.path.as_path());
        let mut asked = serde_json::to_vec(&Asked { question, path })
            .map_err(|error| broken("write the question as JSON").caused_by(error))?;
        asked.push(b'\n');
        let size = file.map_or(0, |file| file.metadata().size);
        let limits = Limits { memory: self.config.max_memory.get(), file: self.config.max_file.get().max(size) };
        let most = usize::try_from(self.config.max_output.get()).unwrap_or(usize::MAX);
        let command = self.command(run.folder(), path);
        let ended = run.carry_out(command, limits, &asked, most).await?;
        let is_spoiled = match &content {
            Some(content) => content.is_changed().await,
            None => false,
        };
        let answer = ended.result.and_then(|status| Answer::of(status, ended.output, folder, &self.config));
        Ok(Heard { answer, complaints: for_the_log(&ended.complaints), is_spoiled })
    }

    fn command(&self, folder: &Path, content: Option<&Path>) -> tokio::process::Command {
        let home = folder.join(HOME);
        let mut command = tokio::process::Command::new(&self.program.path);
        command.args(self.program.arguments(content)).current_dir(&home).env_clear();
        command.env("PATH", config::SEARCH).env("LANG", "C.UTF-8").env("HOME", &home).env("TMPDIR", &home);
        command.envs(&self.config.environment.0).env(MARK, folder);
        command
    }
}

impl Heard {
    /// Reads the answer of a stage, and says in the log what the command complained of.
    fn read<T>(self, read: impl FnOnce(&Answer) -> Result<T, PluginError>) -> Result<T, PluginError> {
        let answer = self.answer.and_then(|answer| read(&answer));
        match (&answer, self.complaints.as_str()) {
            (_, "") => {}
            (Ok(_), stderr) => tracing::debug!(stderr, "the command wrote to standard error"),
            (Err(error), stderr) => tracing::warn!(stderr, %error, "the command failed"),
        }
        answer
    }
}

fn span(stage: &'static str, file: &tidegate_plugin_sdk::Metadata) -> tracing::Span {
    let tidegate_plugin_sdk::Metadata { id, collection, tenant, file_name, .. } = file;
    tracing::info_span!("command", stage, id, collection, tenant, file_name)
}
