//! Tidegate: a plugin-extensible upload gateway. See README.md for the map and the rules of who may import whom.

// What comes from outside must not end the process. Tests may.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod auth;
pub mod boot;
pub mod catalog;
pub mod cli;
pub mod collection;
pub mod config;
pub mod crash;
pub mod diagnostics;
pub mod digest;
pub mod events;
pub mod fault;
pub mod files;
pub mod follow_ups;
pub mod gateway;
pub mod hooks;
pub mod http;
pub mod jobs;
pub mod kernel;
pub mod name;
pub mod staging;
pub mod storage;
pub mod time;
pub mod to_the_end;
pub mod units;
pub mod upload;
