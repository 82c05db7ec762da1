//! The integration tests: suites that run against whatever implements a port, and tests of the whole through the gateway's own
//! binary.

mod architecture;
mod catalog;
mod config;
mod http;
mod relay_socket;
mod storage;
