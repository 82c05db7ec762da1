//! Which web pages may call the gateway (`Origin`, CORS), and by which names it may be called (`Host`).
//!
//! A browser is not trusted because it runs on this machine: every page that it shows can send requests here. And a
//! page's own name can be made to point here (DNS rebinding), so a name must be known; an IP address cannot be rebound.

use std::net::IpAddr;

use poem::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use poem::{Request, Response};

use super::config::{HostName, OriginPattern, ServerConfig};
use super::refusal::Refusal;

const ALLOWED_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
/// What scripts may read of an answer, beside what they always may.
const EXPOSED_HEADERS: &str = "Accept-Ranges, Allow, Content-Disposition, Content-Length, Content-Range, ETag, \
     Last-Modified, Link, Location, Retry-After, X-Request-Id";
const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

pub struct Guard {
    origins: Vec<OriginPattern>,
    hosts: Vec<HostName>,
}

/// What becomes of a request before anybody looks at its path.
pub enum Verdict {
    Pass(Cors),
    /// A browser's question, and its answer.
    Preflight(Response),
    Refuse(Refusal),
}

/// What the answer must carry for a page of another origin.
pub struct Cors(Option<HeaderValue>);

impl Guard {
    pub fn new(config: &ServerConfig) -> Self {
        let mut guard = Self { origins: config.allowed_origins.clone(), hosts: config.allowed_hosts.clone() };
        // A proxy that stands before the gateway may pass either name on.
        if let Some(origin) = config.public_url.as_ref().map(|url| url.origin()) {
            let authority = origin.split_once("://").map_or(origin, |(_, authority)| authority);
            guard.origins.extend(origin.parse());
            guard.hosts.extend(host_of(authority).parse());
        }
        guard
    }

    pub fn check(&self, request: &Request) -> Verdict {
        let headers = request.headers();
        let host = match self.host(request) {
            Ok(host) => host,
            Err(refusal) => return Verdict::Refuse(refusal),
        };
        let mut origins = headers.get_all(header::ORIGIN).into_iter();
        let Some(origin) = origins.next() else {
            return Verdict::Pass(Cors(None));
        };
        let text = origin.to_str().unwrap_or_default();
        let foreign = !is_own(text, host);
        if origins.next().is_some() || (foreign && !self.origins.iter().any(|pattern| pattern.matches(text))) {
            return Verdict::Refuse(foreign_origin(text));
        }
        if request.method() == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
            return Verdict::Preflight(preflight(headers, origin));
        }
        Verdict::Pass(Cors(foreign.then(|| origin.clone())))
    }

    /// The authority that the request was sent to; empty for an old client that does not say.
    fn host<'a>(&self, request: &'a Request) -> Result<&'a str, Refusal> {
        let mut lines = request.headers().get_all(header::HOST).into_iter();
        let line = lines.next().map(|value| value.to_str().unwrap_or("?"));
        // The target's own authority (HTTP/2, proxies) goes before the header (RFC 9112, 3.2.2).
        let target = request.uri().authority().map(|authority| authority.as_str());
        let Some(host) = target.or(line) else {
            return match request.version() {
                Version::HTTP_09 | Version::HTTP_10 => Ok(""),
                _ => Err(Refusal::bad_request("the request has no Host")),
            };
        };
        if lines.next().is_some() {
            return Err(Refusal::bad_request("the request has several Host headers"));
        }
        for name in target.into_iter().chain(line) {
            if !self.knows(host_of(name)) {
                return Err(unknown_host(host_of(name)));
            }
        }
        Ok(host)
    }

    fn knows(&self, host: &str) -> bool {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let name = host.strip_suffix('.').unwrap_or(host);
        bare.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|known| name.eq_ignore_ascii_case(known.as_str()))
    }
}

impl Cors {
    pub fn apply(&self, headers: &mut HeaderMap) {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = &self.0 {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED_HEADERS));
        }
    }
}

/// Answered whatever the path, for a browser that asks for a path that is not there must get to see the 404.
fn preflight(request: &HeaderMap, origin: &HeaderValue) -> Response {
    // 200, not 204: some browsers take nothing else.
    let mut response = Response::builder().status(StatusCode::OK).finish();
    let headers = response.headers_mut();
    Cors(Some(origin.clone())).apply(headers);
    headers.append(header::VARY, HeaderValue::from_static("Access-Control-Request-Method"));
    headers.append(header::VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(ALLOWED_METHODS));
    if let Some(wanted) = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    if request.contains_key(REQUEST_PRIVATE_NETWORK) {
        headers.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

/// Whether a page of this origin came from the gateway itself. The scheme is not compared: behind a proxy that ends TLS
/// the page's is https and ours is http.
fn is_own(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default = match scheme {
        "http" => "80",
        "https" => "443",
        _ => return false,
    };
    !host.is_empty()
        && host_of(authority).eq_ignore_ascii_case(host_of(host))
        && port_of(authority).unwrap_or(default) == port_of(host).unwrap_or(default)
}

/// `localhost` of `localhost:8000`, `[::1]` of `[::1]:8000`.
fn host_of(authority: &str) -> &str {
    let port = port_of(authority).map_or(0, |port| port.len() + 1);
    &authority[..authority.len() - port]
}

fn port_of(authority: &str) -> Option<&str> {
    let (_, port) = authority.rsplit_once(':')?;
    port.bytes().all(|byte| byte.is_ascii_digit()).then_some(port)
}

fn foreign_origin(origin: &str) -> Refusal {
    let message = match origin.parse::<OriginPattern>() {
        Ok(_) if !origin.contains('*') => format!(
            "pages of {origin} may not call this gateway; to let them, add to its configuration: \
             server.allowed_origins = [\"{origin}\"]"
        ),
        _ => "a page without an origin of its own may not call this gateway; serve the page from a web server, and \
              add that to the configuration: server.allowed_origins = [\"http://localhost:5173\"]"
            .to_owned(),
    };
    Refusal::new(StatusCode::FORBIDDEN, message)
}

fn unknown_host(host: &str) -> Refusal {
    let message = match host.parse::<HostName>() {
        Ok(name) => format!(
            "this gateway does not know itself by the name {name}; if it is one of its names, add to its \
             configuration: server.allowed_hosts = [\"{name}\"]"
        ),
        Err(_) => "this gateway does not know itself by that name; its names stand in its configuration: \
                   server.allowed_hosts = [\"files.example.org\"]"
            .to_owned(),
    };
    Refusal::new(StatusCode::FORBIDDEN, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        let parse = |text: &str| text.parse().unwrap();
        Guard::new(&ServerConfig {
            allowed_origins: vec![parse("http://localhost:*"), parse("https://app.example.org")],
            allowed_hosts: vec!["files.example.org".parse().unwrap()],
            public_url: Some("https://public.example.org/up".parse().unwrap()),
            ..ServerConfig::default()
        })
    }

    fn check(method: Method, headers: &[(&str, &str)]) -> Verdict {
        let mut request = Request::builder().method(method).uri_str("/x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        guard().check(&request.finish())
    }

    /// `None`: passed; else the refusal's message.
    fn refused(headers: &[(&str, &str)]) -> Option<String> {
        match check(Method::POST, headers) {
            Verdict::Refuse(refusal) => Some(refusal.message),
            _ => None,
        }
    }

    #[test]
    fn hosts() {
        for host in [
            "localhost",
            "LOCALHOST:8000",
            "localhost.:8000",
            "127.0.0.1:8000",
            "10.1.2.3",
            "[::1]:8000",
            "[fe80::1]",
            "files.example.org",
            "Files.Example.Org:8443",
            "public.example.org",
        ] {
            assert_eq!(refused(&[("host", host)]), None, "{host}");
        }
        let evil = refused(&[("host", "evil.example:8000")]).unwrap();
        assert!(evil.contains("server.allowed_hosts = [\"evil.example\"]"), "{evil}");
        for host in
            ["", "localhost.evil.example", "127.0.0.1.evil.example", "a@localhost", "localhost@evil.example", "["]
        {
            assert!(refused(&[("host", host)]).is_some(), "{host}");
        }
        assert!(refused(&[]).is_some());
        assert!(refused(&[("host", "localhost"), ("host", "localhost")]).is_some());
    }

    #[test]
    fn origins() {
        for (host, origin) in [
            ("localhost:8000", "http://localhost:5173"),
            ("localhost:8000", "http://localhost"),
            ("localhost:8000", "https://app.example.org"),
            ("localhost:8000", "https://public.example.org"),
            // The gateway's own.
            ("127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("[::1]:8000", "http://[::1]:8000"),
            ("files.example.org", "https://files.example.org"),
            ("files.example.org:443", "https://files.example.org"),
            ("files.example.org:80", "http://files.example.org"),
        ] {
            assert_eq!(refused(&[("host", host), ("origin", origin)]), None, "{origin}");
        }
        for (host, origin) in [
            ("localhost:8000", "null"),
            ("localhost:8000", ""),
            ("localhost:8000", "https://localhost:5173"),
            ("localhost:8000", "http://localhost.evil.example"),
            ("localhost:8000", "https://evil.example"),
            ("localhost:8000", "http://app.example.org"),
            ("127.0.0.1:8000", "http://127.0.0.1:8001"),
            ("files.example.org:8443", "https://files.example.org"),
        ] {
            assert!(refused(&[("host", host), ("origin", origin)]).is_some(), "{origin}");
        }
        let evil = refused(&[("host", "localhost"), ("origin", "https://evil.example")]).unwrap();
        assert!(evil.contains("server.allowed_origins = [\"https://evil.example\"]"), "{evil}");
        let own = "http://localhost:5173";
        assert!(refused(&[("host", "localhost"), ("origin", own), ("origin", own)]).is_some());
    }

    #[test]
    fn a_preflight_is_answered_for_listed_origins_alone() {
        let ask = |origin| {
            let headers = [
                ("host", "localhost"),
                ("origin", origin),
                ("access-control-request-method", "PATCH"),
                ("access-control-request-headers", "x-a, x-b"),
            ];
            check(Method::OPTIONS, &headers)
        };
        let Verdict::Preflight(response) = ask("http://localhost:5173") else { panic!("no preflight") };
        assert_eq!(response.status(), 200);
        assert_eq!(response.header("access-control-allow-origin"), Some("http://localhost:5173"));
        assert_eq!(response.header("access-control-allow-headers"), Some("x-a, x-b"));
        assert!(response.header("access-control-allow-methods").unwrap().contains("PATCH"));
        assert!(matches!(ask("https://evil.example"), Verdict::Refuse(_)));
    }

    #[test]
    fn only_pages_of_other_origins_get_cors_headers() {
        let allowed = |origin| {
            let Verdict::Pass(cors) = check(Method::GET, &[("host", "localhost:8000"), ("origin", origin)]) else {
                panic!("refused")
            };
            let mut headers = HeaderMap::new();
            cors.apply(&mut headers);
            assert_eq!(headers[header::VARY], "Origin");
            headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN)
        };
        assert!(allowed("http://localhost:5173"));
        assert!(!allowed("http://localhost:8000"));
    }
}
