//! The dialects: one folder each, which parses its requests into domain calls and renders the outcome in the shape
//! that its clients know. A new one adds its folder and a line to each list here.

pub mod admin;
pub mod chunk_writer;
pub mod config;
pub mod events;
pub mod fileupload;
pub mod refusals;
pub mod relay;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::errors::Shape;
use super::openapi::DocumentBuilder;
use super::routes::Routes;
use crate::gateway::{Dialects, GatewayHandle};
use relay::socket::Sockets;

/// How errors look under which paths. Whatever is not listed answers with a problem document (RFC 9457).
pub const SHAPES: &[Shape] = &[chunk_writer::SHAPE, fileupload::SHAPE, relay::SHAPE];

/// What is mounted, in the order of the document.
pub const APIS: &[Api] = &[relay::API, fileupload::API, chunk_writer::API, events::API, admin::API];

/// A dialect as the router and the document see it.
pub struct Api {
    /// Its folder.
    pub name: &'static str,
    /// Whether this configuration serves it.
    pub is_on: fn(&Dialects) -> bool,
    /// Its operations in the document.
    pub document: fn(DocumentBuilder) -> DocumentBuilder,
    /// Its operations, pages and sockets in the table.
    pub mount: fn(Routes, &Serving) -> Routes,
}

/// What handlers have of the process. It outlives every reload: sockets stay open over one.
#[derive(Clone)]
pub struct Serving {
    /// Each request takes the current snapshot, once.
    pub gateway: GatewayHandle,
    /// Cancelled when the gateway drains: whoever waits for an event is told.
    pub draining: CancellationToken,
    /// The relay's sockets that are open.
    pub sockets: Arc<Sockets>,
}

impl Serving {
    pub fn new(gateway: GatewayHandle, draining: CancellationToken) -> Self {
        Self { gateway, draining, sockets: Arc::default() }
    }
}
