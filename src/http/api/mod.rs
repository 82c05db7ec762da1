//! The dialects: one folder each, which parses its requests into domain calls and renders the outcome in the shape
//! that its clients know. A new one adds its folder and a line to each list here.

pub mod chunk_writer;
pub mod config;
pub mod fileupload;
pub mod refusals;
pub mod relay;

use super::errors::Shape;
use super::openapi::DocumentBuilder;
use super::routes::Routes;
use crate::gateway::{Dialects, GatewayHandle};

/// How errors look under which paths. Whatever is not listed answers with a problem document (RFC 9457).
pub const SHAPES: &[Shape] = &[chunk_writer::SHAPE, fileupload::SHAPE, relay::SHAPE];

/// What is mounted, in the order of the document.
pub const APIS: &[Api] = &[chunk_writer::API, fileupload::API];

/// A dialect as the router and the document see it.
pub struct Api {
    /// Its folder.
    pub name: &'static str,
    /// Whether this configuration serves it.
    pub is_on: fn(&Dialects) -> bool,
    /// Its operations in the document.
    pub document: fn(DocumentBuilder) -> DocumentBuilder,
    /// Its operations, pages and sockets in the table. Each request takes the gateway's snapshot for itself, once.
    pub mount: fn(Routes, &GatewayHandle) -> Routes,
}
