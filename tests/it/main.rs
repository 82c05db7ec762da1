//! The integration tests: suites that run against whatever implements a port, and tests of the whole through the gateway's own
//! binary.

mod architecture;
mod catalog;
mod chunk_writer;
mod config;
#[cfg(feature = "crash-points")]
mod crash;
mod fileupload;
mod follow_ups;
mod http;
mod openapi;
mod promises;
mod relay;
mod relay_socket;
mod storage;
mod support;
