//! The configuration of `auth`.
