//! The hosts that `$ref` may reach beside the files of this machine: none but those that the operator has named.

use jsonschema::Uri;
use reqwest::Url;

/// What no name of a host has in it. A `*` would pass for one.
const NOT_IN_A_NAME: &[char] = &['/', '\\', '?', '#', '@', '*'];

#[derive(Debug, Clone, Default)]
pub struct Hosts {
    /// Their roots: of an address they say the scheme, the host and the port.
    roots: Vec<Url>,
}

impl Hosts {
    /// Those of the option; and with them, what is wrong with each that is none.
    pub fn parse(names: &[String]) -> (Self, Vec<String>) {
        let (mut roots, mut wrong) = (Vec::new(), Vec::new());
        for name in names {
            match root_of(name) {
                Some(root) => roots.push(root),
                None => wrong.push(format!(
                    "`{name}` is no host: write its name alone, as `example.org` or `example.org:8443`, which are spoken to over https, \
                     or `http://example.org` for http; names are exact, without `*`"
                )),
            }
        }
        (Self { roots }, wrong)
    }

    /// Whether any of them shows a certificate.
    pub fn speak_tls(&self) -> bool {
        self.roots.iter().any(|root| root.scheme() == "https")
    }

    /// Where to fetch what has this address; or why it may not be.
    pub fn locate(&self, address: &Uri<String>) -> Result<Url, String> {
        let copy = "put a copy beside the schema";
        let scheme = address.scheme().as_str();
        if !matches!(scheme, "http" | "https") {
            return Err(format!("`{scheme}:` is no way to it; {copy}, and refer to that"));
        }
        let url = Url::parse(address.as_str()).map_err(|error| format!("the address is wrong: {error}"))?;
        let host = url.host_str().unwrap_or_default();
        if self.roots.iter().any(|root| root.origin() == url.origin()) {
            if !url.username().is_empty() || url.password().is_some() {
                return Err(format!("the address gives a name or password to `{host}`, which are not sent; {copy}"));
            }
            return Ok(url);
        }
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let prefix = if scheme == "http" { "http://" } else { "" };
        Err(format!("it is on a host that `allowed_hosts` does not have; {copy}, or list `{prefix}{host}{port}` there"))
    }
}

fn root_of(name: &str) -> Option<Url> {
    let (scheme, host) = match name.strip_prefix("http://") {
        Some(host) => ("http", host),
        None => ("https", name),
    };
    // What a URL may have around it or in it, and a parser passes over.
    let is_odd = |character: char| character.is_whitespace() || character.is_control();
    if host.ends_with(':') || host.contains(NOT_IN_A_NAME) || host.contains(is_odd) {
        return None;
    }
    Url::parse(&format!("{scheme}://{host}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(names: &[&str]) -> (Hosts, Vec<String>) {
        Hosts::parse(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    fn locate(hosts: &Hosts, address: &str) -> Result<String, String> {
        hosts.locate(&jsonschema::uri::from_str(address).unwrap()).map(String::from)
    }

    #[test]
    fn a_host_is_allowed_by_its_exact_name_with_scheme_and_port() {
        let (hosts, wrong) = hosts(&["example.org", "Example.com:8443", "http://plain.example", "http://[::1]:8080"]);
        assert_eq!(wrong, [""; 0]);
        for address in [
            "https://example.org/a.json?b=c",
            "https://EXAMPLE.org:443/a.json",
            "https://example.com:8443/",
            "http://plain.example/a.json",
            "http://[::1]:8080/a.json",
        ] {
            assert!(locate(&hosts, address).is_ok(), "{address}");
        }
        for (address, part) in [
            ("http://example.org/a.json", "`http://example.org`"),
            ("https://example.org:8443/a.json", "`example.org:8443`"),
            ("https://www.example.org/a.json", "`www.example.org`"),
            ("https://example.org.evil.example/", "`example.org.evil.example`"),
            ("https://example.org@evil.example/", "`evil.example`"),
            ("https://evil.example/example.org", "`evil.example`"),
            ("https://example.com/", "`example.com`"),
            ("https://plain.example/a.json", "`plain.example`"),
        ] {
            let message = locate(&hosts, address).unwrap_err();
            assert!(message.contains("`allowed_hosts`") && message.contains(part), "{address}: {message}");
        }
        assert!(locate(&hosts, "https://name:secret@example.org/").unwrap_err().contains("password"));
        assert!(locate(&hosts, "urn:example:a").unwrap_err().contains("copy"));
        assert!(locate(&Hosts::default(), "https://example.org/").is_err());
    }

    #[test]
    fn what_is_no_host_is_told_what_one_is() {
        for name in [
            "",
            "*",
            "*.example.org",
            "https://example.org",
            "ftp://example.org",
            "example.org/",
            "example.org/a",
            "a@b",
            "example.org:",
            "example.org:99999",
            "example.org:x",
            " example.org",
            "exam\nple.org",
            "example.org?a",
            "a b",
            "http://",
            "http://a/b",
            "a#b",
            "a\\b",
        ] {
            let (_, wrong) = hosts(&[name, "example.org"]);
            assert!(wrong.len() == 1 && wrong[0].contains("`example.org:8443`"), "{name:?}: {wrong:?}");
        }
    }
}
