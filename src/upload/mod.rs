//! The way in: parts, seal, assembly, validation, publication.

pub mod port;

mod ledger;
