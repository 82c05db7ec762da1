//! How a plugin says that it could not do its work. A file that is bad is no error: that is a verdict.

use std::error::Error as StdError;
use std::fmt;
use std::io;

/// The way in which a plugin failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The instance cannot be made of its options.
    Config,
    /// The content could not be read.
    Read,
    /// A counterpart (a daemon, a server, a child process) does not answer, or answers nonsense.
    Unavailable,
    /// A bound of memory, size or number was reached.
    Limit,
    /// The plugin itself is broken.
    Internal,
}

impl ErrorKind {
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::Config => "config",
            ErrorKind::Read => "read",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::Limit => "limit",
            ErrorKind::Internal => "internal",
        }
    }
}

/// A plugin's failure. It is logged, never shown to a client.
#[derive(Debug)]
pub struct PluginError {
    pub kind: ErrorKind,
    /// Whether the same call can succeed later without anybody mending the set-up.
    pub retryable: bool,
    /// What was being done and with what, in words for a log line.
    pub context: String,
    pub source: Option<Box<dyn StdError + Send + Sync>>,
}

impl PluginError {
    /// A failure that a retry does not mend.
    pub fn permanent(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self { kind, retryable: false, context: context.into(), source: None }
    }

    /// A failure that a retry may mend.
    pub fn retryable(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self { kind, retryable: true, context: context.into(), source: None }
    }

    /// The content could not be read. The storage may be better in a moment.
    pub fn read(context: impl Into<String>, error: io::Error) -> Self {
        Self::retryable(ErrorKind::Read, context).caused_by(error)
    }

    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for PluginError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({}", self.context, self.kind.as_str())?;
        if self.retryable {
            formatter.write_str(", can be retried")?;
        }
        formatter.write_str(")")?;
        let mut source = self.source();
        while let Some(error) = source {
            write!(formatter, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl StdError for PluginError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_kind_context_and_every_cause() {
        let error = PluginError::read("could not read the content at byte 7", io::Error::other("the disk is gone"));
        assert_eq!(error.to_string(), "could not read the content at byte 7 (read, can be retried): the disk is gone");
        assert_eq!(PluginError::permanent(ErrorKind::Limit, "too deep").to_string(), "too deep (limit)");
    }
}
