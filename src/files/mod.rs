//! What is published: record, read, list, delete, append, reconcile.

pub mod port;
