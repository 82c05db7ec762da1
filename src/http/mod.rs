//! The way in over HTTP: accept loop, guard, errors, the document, and one folder a dialect under [`api`]. A
//! handler extracts, calls the domain, renders; what is done with bytes and files is decided elsewhere.
//!
//! A request's way: [`listen`] and [`server`] (whose connections [`again`] polls) → [`wire`] (deadlines of the connection, its part of the
//! [`read_room`]) → [`incoming`] (its body) →
//! [`app`]: [`guard`], [`routes`], and [`errors`] for what went wrong → [`log`].
//!
//! poem and hyper appear here and nowhere else.

mod again;
pub mod api;
pub mod app;
pub mod config;
pub mod download;
pub mod errors;
pub mod guard;
pub mod health;
mod incoming;
pub mod listen;
mod log;
pub mod openapi;
mod read_room;
pub mod refusal;
pub mod request_id;
pub mod routes;
pub mod server;
pub mod typed;
mod wire;
