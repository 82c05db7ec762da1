//! The configuration of `events`.
