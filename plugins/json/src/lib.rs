//! Well-formed JSON in UTF-8, checked incrementally in bounded memory.
pub mod scanner;
