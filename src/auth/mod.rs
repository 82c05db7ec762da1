//! Who a request acts for. Today everyone is [`Principal::anonymous`]; keys and tokens come behind this
//! type, and every domain call takes it already. Where the gateway may listen while nobody has to show
//! credentials is checked by `config`.

pub mod config;

use std::fmt;
use std::sync::Arc;

/// The one a request acts for. Upload ids that clients choose are namespaced by it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal(Arc<str>);

impl Principal {
    pub fn anonymous() -> Self {
        Self(Arc::from("anonymous"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
