//! The contract between the gateway and its plugins. It depends on nothing of the gateway.
//!
//! A plugin is one crate in one folder. It has a configuration type, implements [`Plugin`] and [`Build`], and one
//! trait for each stage at which it can be used:
//!
//! | stage | trait | is asked | answers |
//! |---|---|---|---|
//! | `admit` | [`Admit`] | before a file's first byte, with what its client says of it | [`Admission`] |
//! | `validate` | [`Validate`] | before a file becomes visible, with its content | [`Verdict`] |
//! | `post_assembly` | [`PostAssembly`] | after a file was published, at least once | [`FollowUp`] |
//!
//! Each stage has an answer of its own, so that no field is ignored anywhere. Native code, a child process, a server and a WASM guest can
//! stand behind each: for those that are not called in Rust, [`wire`] has questions and answers as JSON. Who runs the hooks, in which
//! order and with which deadlines, is the gateway's business and does not stand here.
//!
//! # Life cycle
//!
//! 1. **Parsed.** The options of an instance are read into [`Build::Config`]; an unknown option is an error there
//!    (`#[serde(deny_unknown_fields)]`).
//! 2. **Checked.** [`Build::check`] says everything that is wrong with the options, all at once. It dials nothing,
//!    writes nothing, and reads no file that the options do not name. `tidegate check` ends here.
//! 3. **Built.** [`Build::build`] makes the instance, once for each start and each reload. It may be slow (a schema is
//!    compiled), and still dials nothing: a counterpart that is down must not keep the gateway from starting.
//! 4. **Used.** The methods of the stage traits are called from many tasks at once, on a tokio runtime.
//! 5. **Closed.** [`Plugin::close`] is called once, when no call is under way and none will come.

mod admit;
mod error;
mod file;
mod named_file;
mod plugin;
mod post_assembly;
mod reading;
mod reference;
mod shown;
mod stage;
pub mod testing;
pub mod units;
mod validate;
pub mod wire;

pub use admit::{Admission, Admit, Amendment, Announcement, Denial};
pub use error::{ErrorKind, PluginError};
pub use file::{ByteStream, FileHandle, Metadata, next_piece};
pub use named_file::read_named_file;
pub use plugin::{Build, OptionIssue, Plugin};
pub use post_assembly::{FollowUp, PostAssembly, Publication};
pub use reading::{Pieces, read_beginning};
pub use reference::{assert_documented, options_reference};
pub use shown::shown;
pub use stage::Stage;
pub use validate::{Issue, Validate, Verdict};

/// What the traits are written with, so that a plugin need not pin it again.
pub use async_trait::async_trait;
pub use bytes::Bytes;
pub use schemars;
