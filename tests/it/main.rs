//! The one integration binary: suites that take any implementation of a port, and what they run on.

mod catalog;
mod storage;
