//! The configuration of `http`: `[server]`. Whether `auth` allows the addresses is checked by `config`, which sees both.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Period;

/// Where and how the gateway listens.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Addresses to listen on, as `localhost:8000` (both address families), `127.0.0.1:8000` or `[::1]:8000`. Changing
    /// them takes a restart.
    pub listen: Vec<ListenAddress>,
    /// Origins of web pages that may call the gateway, as `https://app.example.org` or `http://localhost:*`. The
    /// gateway's own origin may always.
    pub allowed_origins: Vec<OriginPattern>,
    /// Names that the gateway is reached by besides `localhost` and IP addresses, as `files.example.org`.
    pub allowed_hosts: Vec<HostName>,
    /// The URL that clients reach the gateway by, where a proxy stands before it. Without it, links are relative.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_url: Option<PublicUrl>,
    /// Connections served at once, WebSockets among them; further ones wait.
    pub max_connections: u32,
    /// What a connection may wait for.
    pub deadlines: Deadlines,
}

/// What a connection may wait for. None of them limits how long a body may take as long as bytes come.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Deadlines {
    /// For the whole head of a request, from its first byte on.
    pub headers: Period,
    /// For the next bytes of a request's body.
    pub idle_body: Period,
    /// For the next request on a connection that is kept open.
    pub idle_connection: Period,
    /// For requests under way to end, once the gateway was told to stop.
    pub drain: Period,
}

impl Default for ServerConfig {
    fn default() -> Self {
        let local = |port| ListenAddress { host: "localhost".to_owned(), port };
        let any_port =
            |host: &str| OriginPattern { scheme: "http".to_owned(), host: host.to_owned(), port: PortPattern::Any };
        Self {
            listen: vec![local(8000), local(5001)],
            allowed_origins: vec![any_port("localhost"), any_port("127.0.0.1")],
            allowed_hosts: Vec::new(),
            public_url: None,
            max_connections: 20_000,
            deadlines: Deadlines::default(),
        }
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            headers: Period::seconds(10),
            idle_body: Period::seconds(60),
            idle_connection: Period::seconds(75),
            drain: Period::seconds(30),
        }
    }
}

/// Why a text of `[server]` is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerConfigError {
    #[error("`{0}` is no address to listen on: write host:port, as \"localhost:8000\" or \"[::1]:8000\"")]
    Address(String),
    #[error("`{0}` is no origin: write scheme://host:port, as \"https://app.example.org\" or \"http://localhost:*\"")]
    Origin(String),
    #[error("the origin `null` cannot be allowed: every sandboxed page and local file has it")]
    NullOrigin,
    #[error("`*` as origin would let every web page in: list the origins, as \"https://app.example.org\"")]
    AnyOrigin,
    #[error("`{0}` is no host name: write the name alone, without scheme, port or path, as \"files.example.org\"")]
    Host(String),
    #[error("`{0}` is no URL of a gateway: write http:// or https://, the host, and at most a path")]
    PublicUrl(String),
}

/// An address to listen on: a name or an IP address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct ListenAddress {
    /// Without brackets.
    pub host: String,
    pub port: u16,
}

impl ListenAddress {
    /// Whether only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost") || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl FromStr for ListenAddress {
    type Err = ServerConfigError;

    fn from_str(text: &str) -> Result<Self, ServerConfigError> {
        let wrong = || ServerConfigError::Address(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(bare) => bare.parse::<Ipv6Addr>().map_err(|_| wrong())?.to_string(),
            None if is_host(host) => host.to_owned(),
            None => return Err(wrong()),
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(formatter, "[{}]:{}", self.host, self.port),
            false => write!(formatter, "{}:{}", self.host, self.port),
        }
    }
}

/// Which origins may call: one scheme, one host, one port or any.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct OriginPattern {
    scheme: String,
    host: String,
    port: PortPattern,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum PortPattern {
    Any,
    /// The scheme's own: browsers leave it out.
    Default,
    Exact(u16),
}

impl OriginPattern {
    /// Whether the value of an `Origin` header is one of those meant. What is no origin matches nothing.
    pub fn matches(&self, origin: &str) -> bool {
        let Ok(given) = origin.parse::<OriginPattern>() else {
            return false;
        };
        let port_matches = match (self.port, given.port) {
            (_, PortPattern::Any) => false,
            (PortPattern::Any, _) => true,
            (expected, given) => expected == given,
        };
        port_matches && self.scheme == given.scheme && self.host == given.host
    }
}

impl FromStr for OriginPattern {
    type Err = ServerConfigError;

    fn from_str(text: &str) -> Result<Self, ServerConfigError> {
        match text {
            "null" => return Err(ServerConfigError::NullOrigin),
            "*" => return Err(ServerConfigError::AnyOrigin),
            _ => {}
        }
        let wrong = || ServerConfigError::Origin(text.to_owned());
        let (scheme, authority) = text.split_once("://").ok_or_else(wrong)?;
        let scheme = scheme.to_ascii_lowercase();
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
        let (host, port) = split_port(authority).ok_or_else(wrong)?;
        if !is_scheme || !(is_host(host) || is_bracketed_ipv6(host)) {
            return Err(wrong());
        }
        let port = match port {
            None => PortPattern::Default,
            Some("*") => PortPattern::Any,
            Some(digits) => digits.parse().map(PortPattern::Exact).map_err(|_| wrong())?,
        };
        let port = match (scheme.as_str(), port) {
            ("http" | "ws", PortPattern::Exact(80)) | ("https" | "wss", PortPattern::Exact(443)) => {
                PortPattern::Default
            }
            (_, port) => port,
        };
        Ok(Self { scheme, host: host.to_ascii_lowercase(), port })
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", self.scheme, self.host)?;
        match self.port {
            PortPattern::Any => formatter.write_str(":*"),
            PortPattern::Default => Ok(()),
            PortPattern::Exact(port) => write!(formatter, ":{port}"),
        }
    }
}

/// A name that the gateway is reached by, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(String);

impl HostName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = ServerConfigError;

    fn from_str(text: &str) -> Result<Self, ServerConfigError> {
        match is_host(text) {
            true => Ok(Self(text.to_ascii_lowercase())),
            false => Err(ServerConfigError::Host(text.to_owned())),
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The URL that clients reach the gateway by, without a `/` at its end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct PublicUrl(String);

impl PublicUrl {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its origin, as browsers send it.
    pub fn origin(&self) -> &str {
        let authority = self.0.find("://").map_or(0, |at| at + "://".len());
        let end = self.0[authority..].find('/').map_or(self.0.len(), |slash| authority + slash);
        &self.0[..end]
    }
}

impl FromStr for PublicUrl {
    type Err = ServerConfigError;

    fn from_str(text: &str) -> Result<Self, ServerConfigError> {
        let url = Self(text.trim_end_matches('/').to_owned());
        let is_web = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
        let is_plain = !text.contains(|c: char| c.is_whitespace() || c.is_control() || "?#@\\".contains(c));
        let origin = url.origin().parse::<OriginPattern>();
        match origin {
            Ok(origin) if is_web && is_plain && origin.port != PortPattern::Any => Ok(url),
            _ => Err(ServerConfigError::PublicUrl(text.to_owned())),
        }
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// `("host", Some("port"))`; the host of an IPv6 address keeps its brackets. `None` for an empty port.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    let after_brackets = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[after_brackets..].split_once(':') {
        None => Some((authority, None)),
        Some((_, "")) => None,
        Some((rest, port)) => Some((&authority[..after_brackets + rest.len()], Some(port))),
    }
}

/// A name or an IPv4 address: letters, digits, `-`, `_` and single dots. (Names in other scripts are sent as `xn--…`.)
fn is_host(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 253
        && text.split('.').all(|label| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

fn is_bracketed_ipv6(text: &str) -> bool {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

/// Text in the file, a checked value in the program.
macro_rules! from_and_into_text {
    ($($kind:ty),*) => {$(
        impl TryFrom<String> for $kind {
            type Error = ServerConfigError;

            fn try_from(text: String) -> Result<Self, ServerConfigError> {
                text.parse()
            }
        }

        impl From<$kind> for String {
            fn from(value: $kind) -> String {
                value.to_string()
            }
        }
    )*};
}

from_and_into_text!(ListenAddress, OriginPattern, HostName, PublicUrl);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses() {
        for (text, loopback) in [
            ("localhost:8000", true),
            ("127.0.0.1:8000", true),
            ("127.8.8.8:1", true),
            ("[::1]:8000", true),
            ("0.0.0.0:8000", false),
            ("[::]:8000", false),
            ("files.example.org:443", false),
            ("localhost.example.org:80", false),
        ] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(address.is_loopback(), loopback, "{text}");
        }
        for wrong in
            ["", "localhost", ":8000", "8000", "localhost:", "localhost:66000", "::1:80", "a b:1", "http://x:1"]
        {
            assert!(wrong.parse::<ListenAddress>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_origin_matches_scheme_host_and_port() {
        let any: OriginPattern = "http://localhost:*".parse().unwrap();
        for origin in ["http://localhost", "http://localhost:5173", "HTTP://LOCALHOST:80"] {
            assert!(any.matches(origin), "{origin}");
        }
        for origin in ["https://localhost", "http://localhost.evil.org:80", "null", "", "http://localhost:*", "*"] {
            assert!(!any.matches(origin), "{origin}");
        }
        let one: OriginPattern = "https://app.example.org".parse().unwrap();
        assert!(one.matches("https://app.example.org"));
        assert!(one.matches("https://app.example.org:443"));
        assert!(!one.matches("https://app.example.org:8443"));
        let six: OriginPattern = "http://[::1]:8000".parse().unwrap();
        assert!(six.matches("http://[::1]:8000"));
        assert!(!six.matches("http://[::1]:8001"));
    }

    #[test]
    fn refuses_what_is_no_origin() {
        assert_eq!("null".parse::<OriginPattern>(), Err(ServerConfigError::NullOrigin));
        assert_eq!("*".parse::<OriginPattern>(), Err(ServerConfigError::AnyOrigin));
        for wrong in [
            "localhost:8000",
            "http://",
            "http://a/",
            "http://a/b",
            "http://*",
            "http://a:b",
            "http://u@a",
            "http://a:",
        ] {
            assert!(wrong.parse::<OriginPattern>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn reads_the_public_url() {
        let url: PublicUrl = "https://example.org:8443/files/".parse().unwrap();
        assert_eq!(url.as_str(), "https://example.org:8443/files");
        assert_eq!(url.origin(), "https://example.org:8443");
        for wrong in ["example.org", "ftp://example.org", "https://", "https://a?b", "https://u:p@a", "https://a:*"] {
            assert!(wrong.parse::<PublicUrl>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn host_names_stand_alone() {
        assert_eq!("Files.Example.org".parse::<HostName>().unwrap().as_str(), "files.example.org");
        for wrong in ["", "https://a", "a:80", "a/b", "a..b", "*.example.org"] {
            assert!(wrong.parse::<HostName>().is_err(), "{wrong}");
        }
    }
}
