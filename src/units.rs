//! Durations and sizes as people write them in the configuration (a leaf). The gateway's sections and the plugins' options are written in
//! the same way, so the types stand in the plugins' contract.

pub use tidegate_plugin_sdk::units::{ByteSize, Period, UnitError};
