//! The stages of a file's way at which a plugin can be used.

use std::fmt;

/// Where on a file's way a hook stands. Each has a trait and an answer of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Before the first byte, on what the client says of the file: [`crate::Admit`].
    Admit,
    /// Before anybody can see the file, on its content: [`crate::Validate`].
    Validate,
    /// After the file was published: [`crate::PostAssembly`].
    PostAssembly,
}

impl Stage {
    pub const ALL: [Stage; 3] = [Stage::Admit, Stage::Validate, Stage::PostAssembly];

    /// As it stands in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Stage::Admit => "admit",
            Stage::Validate => "validate",
            Stage::PostAssembly => "post_assembly",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
