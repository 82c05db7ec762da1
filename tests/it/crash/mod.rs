//! The gateway is killed with `kill -9`, at each named point and at random moments, and started again on what is left. What its
//! clients were told must be there, whole and once; what they were not told of is there whole or not at all.
//!
//! - `gateway`: the process, and a client of it
//! - `appends`, `uploads`, `documents`: what the clients of each dialect sent and were told
//! - `log`: what subscribers hear
//! - `world`: all of it together, compared with a gateway that was started again, and with the folder that it left
//! - `receiver`: who its hooks ask and tell
//! - `points`, `rounds`: where it is killed; `hooks`: while hooks run

mod appends;
mod documents;
mod gateway;
mod hooks;
mod log;
mod points;
mod random;
mod receiver;
mod rounds;
mod uploads;
mod world;
