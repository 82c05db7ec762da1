//! The dialects, one folder each.

pub mod config;
