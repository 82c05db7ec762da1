//! What stands between the dialects' handlers and poem-openapi: extractors and payloads that are documented like its
//! own and do what its own do not. They stream, bound what they hold in memory, name what is missing, and
//! leave the shape of a refusal to [`crate::http::errors`].

pub mod alternatives;
pub mod body;
mod disposition;
pub mod json;
pub mod multipart;
pub mod nullable;
pub mod refused;
pub mod slashed;

pub use alternatives::{JsonFormOrMultipart, TextOrNumber};
pub use body::RawBody;
pub use json::{Json, StreamedJson};
pub use multipart::{FieldKind, FormField, FormSchema, Multipart, Part, refuse_too_large};
pub use nullable::Nullable;
pub use refused::{Refusals, Refused};
pub use slashed::Slashed;
