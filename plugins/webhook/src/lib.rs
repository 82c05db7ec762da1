#![doc = include_str!("../README.md")]

mod address;
mod answer;
mod authorities;
mod config;
mod event;
mod excerpt;
mod guard;
mod headers;
mod hidden;
mod lookups;
mod sender;
mod signature;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use config::Settings;
pub use config::{Config, Content, SecretText};
use event::Message;
use lookups::system_lookup;
use sender::Sender;
use signature::{Secret, Signed};
use tidegate_plugin_sdk::units::ByteSize;
use tidegate_plugin_sdk::{
    Admission, Admit, Announcement, Build, Bytes, ErrorKind, FileHandle, FollowUp, OptionIssue, Plugin, PluginError,
    PostAssembly, Publication, Validate, Verdict, async_trait, read_beginning,
};

/// So many bytes of content are written and signed in less time than it takes to give them to another thread and wait.
const SMALL: usize = 64 * 1024;

/// A receiver, and how it is asked.
pub struct Webhook {
    sender: Sender,
    secrets: Arc<[Secret]>,
    source: Arc<str>,
    content: Content,
    max_content: ByteSize,
}

#[async_trait]
impl Plugin for Webhook {}

impl Build for Webhook {
    const KIND: &'static str = "webhook";
    type Config = Config;

    fn check(config: &Config, base: &Path) -> Vec<OptionIssue> {
        config.settings(base).err().unwrap_or_default()
    }

    fn build(config: Config, base: &Path) -> Result<Self, PluginError> {
        let Settings { receiver, secrets } = config.settings(base).map_err(|issues| {
            let issues: Vec<_> = issues.iter().map(|issue| format!("{} {}", issue.option, issue.message)).collect();
            PluginError::permanent(ErrorKind::Config, issues.join("; "))
        })?;
        let Config { source, content, max_content, .. } = config;
        let sender = Sender::new(receiver, system_lookup())?;
        Ok(Self { sender, secrets: secrets.into(), source: source.into(), content, max_content })
    }
}

#[async_trait]
impl Admit for Webhook {
    async fn admit(&self, file: &Announcement) -> Result<Admission, PluginError> {
        let message = Message::admit(&self.source, file)?;
        let question = Signed::now(&self.secrets, message);
        answer::admission(&self.sender, self.sender.send(&question).await)
    }
}

#[async_trait]
impl Validate for Webhook {
    async fn validate(&self, file: &dyn FileHandle) -> Result<Verdict, PluginError> {
        let question = self.question_of(file).await?;
        answer::verdict(&self.sender, self.sender.send(&question).await)
    }
}

#[async_trait]
impl PostAssembly for Webhook {
    async fn follow_up(&self, file: &dyn FileHandle, publication: &Publication) -> Result<FollowUp, PluginError> {
        let message = Message::published(&self.source, file.metadata(), publication)?;
        let question = Signed::now(&self.secrets, message);
        let started = Instant::now();
        let answer = self.sender.send(&question).await;
        let status = answer.as_ref().ok().map(|answer| answer.status.as_u16());
        let follow_up = answer::follow_up(self.sender.host(), answer);
        tracing::info!(
            target: "tidegate::webhook",
            id = question.message.id,
            host = self.sender.host(),
            status,
            took_ms = started.elapsed().as_millis() as u64,
            attempt = publication.attempt,
            outcome = outcome(&follow_up),
            "told a receiver of a publication"
        );
        Ok(follow_up)
    }

    fn reads_content(&self) -> bool {
        false
    }
}

impl Webhook {
    async fn question_of(&self, file: &dyn FileHandle) -> Result<Signed, PluginError> {
        let content = self.content_of(file).await?;
        let length = content.as_ref().map_or(0, Bytes::len);
        let (secrets, source, metadata) = (self.secrets.clone(), self.source.clone(), file.metadata().clone());
        let make = move || {
            let message = Message::validate(&source, &metadata, content.as_deref())?;
            drop(content);
            Ok(Signed::now(&secrets, message))
        };
        if length <= SMALL {
            return make();
        }
        let ended = tokio::task::spawn_blocking(make).await;
        ended.map_err(|error| {
            PluginError::permanent(ErrorKind::Internal, "the question was not made").caused_by(error)
        })?
    }

    /// What goes along at `validate`, where that is asked for.
    async fn content_of(&self, file: &dyn FileHandle) -> Result<Option<Bytes>, PluginError> {
        let size = file.metadata().size;
        match self.content {
            Content::None => Ok(None),
            Content::Base64 if size > self.max_content.get() => {
                let context =
                    format!("send the content: it has {size} bytes, more than {} (max_content)", self.max_content);
                Err(PluginError::permanent(ErrorKind::Limit, context))
            }
            Content::Base64 => read_beginning(file, size as usize).await.map(Some),
        }
    }
}

fn outcome(follow_up: &FollowUp) -> &'static str {
    match follow_up {
        FollowUp::Done => "done",
        FollowUp::Retry { .. } => "retry",
        FollowUp::GiveUp { .. } => "give_up",
        FollowUp::Disable { .. } => "disable",
    }
}
