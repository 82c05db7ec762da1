//! Dialect A.
