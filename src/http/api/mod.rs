//! The dialects: one folder each, which parses its requests into domain calls and renders the outcome in the shape
//! that its clients know. A new one adds its folder and a line to each list here.

pub mod chunk_writer;
pub mod config;
pub mod fileupload;
pub mod relay;

use super::errors::Shape;

/// How errors look under which paths. Whatever is not listed answers with a problem document (RFC 9457).
pub const SHAPES: &[Shape] = &[chunk_writer::SHAPE, fileupload::SHAPE, relay::SHAPE];
