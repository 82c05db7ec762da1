//! The integration tests: suites that run against whatever implements a port, and tests of the whole.

mod catalog;
mod http;
mod storage;
