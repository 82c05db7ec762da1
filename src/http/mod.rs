//! The way in over HTTP: accept loop, guard, errors, the document, and one folder a dialect under [`api`]. A
//! handler extracts, calls the domain, renders; what is done with bytes and files is decided elsewhere.
//!
//! poem and hyper appear here and nowhere else.

pub mod api;
pub mod config;
pub mod download;
pub mod errors;
pub mod health;
pub mod openapi;
pub mod refusal;
pub mod request_id;
pub mod routes;
pub mod typed;
