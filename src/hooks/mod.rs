//! Hooks: which plugins there are, and how a collection's uses of them are run.
//!
//! The domain asks through [`crate::files::port::HookChain`] and knows no plugin; a plugin sees its own contract
//! (`plugins/sdk`) and knows no gateway. Here the two meet. That a file is checked at all, what becomes of one that
//! is rejected, and when a follow-up is tried again, is the domain's business; what a plugin's failure means is decided here.
//!
//! - [`config`]: `[plugin.NAME]`, `[hooks]`; `registry`: the plugins that are compiled in
//! - `instances`: the plugins of one configuration, built and closed together
//! - `chain`: the uses of a collection at each stage; `call`: one call, bounded; `turns`: how many at the same time; `file`: what it
//!   is given

mod call;
mod chain;
pub mod config;
mod file;
mod instances;
mod registry;
mod turns;

pub use instances::{BuildError, Hooks};
pub use registry::built_in_plugins;
