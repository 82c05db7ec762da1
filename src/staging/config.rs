//! The configuration of `staging`.
