//! The network side: it parses requests into domain calls and renders what came of them.

pub mod api;
pub mod config;
