//! The plugin through the contract, against receivers on real sockets.

mod answers;
mod delivery;
mod guard;
mod hostile;
mod log;
mod receiver;
