//! Storages: OpenDAL operators, what they can do, atomic publication.

pub mod config;
