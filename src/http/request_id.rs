//! The name of one request: in its answer, in its log lines, and in the message of a 500.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use poem::http::{HeaderMap, HeaderName, HeaderValue};

pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

const LONGEST: usize = 128;

/// Visible ASCII: it came from a proxy or a client and was found harmless, or was made here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The one that came with the request if it is sane, else a new one.
    pub fn of(headers: &HeaderMap) -> Self {
        match headers.get(HEADER) {
            Some(value) if is_sane(value.as_bytes()) => Self(value.clone()),
            _ => Self::generate(),
        }
    }

    /// Unique among all processes: a random beginning for this one, then a count.
    pub fn generate() -> Self {
        static PROCESS: LazyLock<u64> = LazyLock::new(|| uuid::Uuid::now_v7().as_u64_pair().1);
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let text = format!("{:016x}-{:x}", *PROCESS, COUNT.fetch_add(1, Ordering::Relaxed));
        Self(HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("none")))
    }

    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    pub fn header_value(&self) -> HeaderValue {
        self.0.clone()
    }
}

fn is_sane(value: &[u8]) -> bool {
    (1..=LONGEST).contains(&value.len())
        && value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:+/=@".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_sane_ids_and_replaces_others() {
        let id = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, HeaderValue::try_from(value).unwrap());
            RequestId::of(&headers).as_str() == value
        };
        assert!(id("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert!(!id("a b"));
        assert!(!id("\"quoted\""));
        assert!(!id(""));
        assert!(!id(&"x".repeat(129)));
        assert_ne!(RequestId::generate(), RequestId::generate());
    }
}
