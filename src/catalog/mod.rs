//! The metadata database: implements the ports of the domain, of events and of jobs.

pub mod config;
