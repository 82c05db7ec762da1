//! The check through the contract: what passes, what is refused and in which words, and the tricks.

mod agreement;
mod allowed;
mod support;
mod told;
