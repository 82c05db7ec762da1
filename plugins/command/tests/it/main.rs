//! The plugin through the contract, with real processes.

mod answers;
mod check;
mod containment;
mod content;
mod examples;
mod support;
