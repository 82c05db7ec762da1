//! Hooks: which plugins there are, and the chain of checks that a file passes before anybody can see it.
//!
//! The domain asks through [`crate::files::port::Validation`] and knows no plugin; a plugin sees its own contract
//! (`plugins/sdk`) and knows no gateway. Here the two meet. That a file is checked at all, and what becomes of one that
//! is rejected, is the domain's business; what a plugin's failure means is decided here.

mod chain;
pub mod config;
mod file;
mod registry;

pub use chain::{BuildError, Hooks};
pub use registry::built_in_plugins;
