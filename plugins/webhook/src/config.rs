//! The options of the `webhook` plugin, and what is made of them.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use reqwest::header::HeaderMap;
use reqwest::{Certificate, Url};
use serde::{Deserialize, Serialize, Serializer};
use tidegate_plugin_sdk::OptionIssue;
use tidegate_plugin_sdk::schemars::{self, JsonSchema};
use tidegate_plugin_sdk::units::{ByteSize, Period};

use crate::authorities;
use crate::guard::{Guard, literal};
use crate::headers;
use crate::hidden::Hidden;
use crate::signature::Secret;

const TIMEOUTS: [Period; 2] = [Period::seconds(1), Period::seconds(60)];
/// It is in memory, and once more as base64, for each file that is being checked.
const LARGEST_CONTENT: ByteSize = ByteSize::mib(64);

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The receiver, as `https://erp.example.org/tidegate`. It must be there. A token in its path or query is shown by `config show` unless
    /// it is filled in from a file (`${file:/run/secrets/erp}`); logs name the host alone.
    pub url: Option<String>,
    /// What questions are signed with: `whsec_` and the base64 of 24 to 64 random bytes each. With more than one there are as many
    /// signatures, so that a receiver can change from one to the next. Without any, the receiver cannot tell who asks.
    pub secrets: Vec<SecretText>,
    /// Who asks, for the event's `source`: a URI, or a part of one.
    pub source: String,
    /// How long one try may take in all: looking the name up, connecting, sending, and the whole answer. From 1s to 60s.
    pub timeout: Period,
    /// Networks that may be dialled although they are not public, as `"10.2.0.0/16"` or `"127.0.0.1/32"`.
    pub allow_networks: Vec<String>,
    /// A file with certificates (PEM) of authorities: a receiver over https may have a certificate of theirs, besides those of the
    /// authorities that this machine trusts. A relative path counts from the folder of the configuration.
    pub ca_file: Option<PathBuf>,
    /// Whether http may be used on the public Internet, where everybody on the way can read along. To `allow_networks` it may be used anyhow.
    pub insecure_http: bool,
    /// Whether the receiver gets the file's bytes at `validate`, as `content_base64` in `data`.
    pub content: Content,
    /// The largest file that is sent with its content; a larger one cannot be checked, and the use's `on_failure` decides. At most 64 MiB.
    pub max_content: ByteSize,
    /// Lines `Name: value` that are sent as headers besides our own, as `"Authorization: Bearer ${file:/run/secrets/erp}"`.
    pub secret_headers: Vec<SecretText>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    #[default]
    None,
    Base64,
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct SecretText(String);

impl fmt::Debug for SecretText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("…")
    }
}

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("…")
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: None,
            secrets: Vec::new(),
            source: "tidegate".to_owned(),
            timeout: Period::seconds(20),
            allow_networks: Vec::new(),
            ca_file: None,
            insecure_http: false,
            content: Content::None,
            max_content: ByteSize::mib(1),
            secret_headers: Vec::new(),
        }
    }
}

/// The options that are more than texts and numbers, each read once.
pub(crate) struct Settings {
    pub(crate) receiver: Receiver,
    pub(crate) secrets: Vec<Secret>,
}

/// Who is asked, and how.
pub(crate) struct Receiver {
    pub(crate) url: Url,
    pub(crate) guard: Guard,
    pub(crate) authorities: Vec<Certificate>,
    pub(crate) headers: HeaderMap,
    pub(crate) hidden: Hidden,
    pub(crate) timeout: Duration,
}

impl Config {
    /// The settings, or everything that is wrong.
    pub(crate) fn settings(&self, base: &Path) -> Result<Settings, Vec<OptionIssue>> {
        let mut issues = Vec::new();
        let mut wrong = |option: &str, message: String| issues.push(OptionIssue::new(option, message));

        let networks: Vec<_> = each("allow_networks", &self.allow_networks, |text| network(text), &mut wrong);
        let secrets = each("secrets", &self.secrets, |SecretText(text)| Secret::parse(text), &mut wrong);
        let mut headers = HeaderMap::new();
        each("secret_headers", &self.secret_headers, |SecretText(line)| headers::add(&mut headers, line), &mut wrong);
        if !is_reference(&self.source) {
            wrong(
                "source",
                "is no URI: write a name as `tidegate`, or a URI as `https://files.example.org`".to_owned(),
            );
        }
        let [shortest, longest] = TIMEOUTS;
        if !(shortest..=longest).contains(&self.timeout) {
            wrong("timeout", format!("must be from {shortest} to {longest}; 15s to 30s are usual"));
        }
        if self.max_content > LARGEST_CONTENT {
            wrong("max_content", format!("must be at most {LARGEST_CONTENT}"));
        }
        let authorities = match &self.ca_file {
            Some(path) => authorities::read(&base.join(path)).unwrap_or_else(|message| {
                wrong("ca_file", message);
                Vec::new()
            }),
            None => Vec::new(),
        };
        let place = self.place(networks, &mut |message| wrong("url", message));
        match place {
            Some((url, guard)) if issues.is_empty() => {
                let hidden = Hidden::of(&url, &headers, self.secrets.iter().map(|SecretText(text)| text.as_str()));
                let receiver = Receiver { url, guard, authorities, headers, hidden, timeout: *self.timeout };
                Ok(Settings { receiver, secrets })
            }
            _ => Err(issues),
        }
    }

    /// What is wrong is said without the URL: there may be secrets in it.
    fn place(&self, networks: Vec<IpNet>, wrong: &mut dyn FnMut(String)) -> Option<(Url, Guard)> {
        const EXAMPLE: &str = "write one as `https://erp.example.org/tidegate`";
        let Some(text) = &self.url else {
            wrong(format!("is missing; {EXAMPLE}"));
            return None;
        };
        let url = match Url::parse(text) {
            Ok(url) => url,
            Err(error) => {
                wrong(format!("is no URL ({error}); {EXAMPLE}"));
                return None;
            }
        };
        if !matches!(url.scheme(), "http" | "https") {
            wrong(format!("is neither https nor http; {EXAMPLE}"));
            return None;
        }
        if !url.username().is_empty() || url.password().is_some() {
            wrong("has a user or a password in it; write a line `Authorization: …` into `secret_headers`".to_owned());
        }
        if url.fragment().is_some() {
            wrong("has a fragment (`#…`), which no receiver would see; leave it out".to_owned());
        }
        let guard = Guard::new(networks, url.scheme() == "http" && !self.insecure_http);
        match literal(&url) {
            Some(address) => {
                if let Err(refusal) = guard.check(address) {
                    wrong(refusal.to_string());
                }
            }
            // Where networks are listed, it is seen when the name is looked up whether it leads there.
            None if guard.is_private_only() && self.allow_networks.is_empty() => wrong(
                "is http, which everybody on the way can read; write https, or list the receiver's network in \
                 `allow_networks`, or write `insecure_http = true`"
                    .to_owned(),
            ),
            None => {}
        }
        Some((url, guard))
    }
}

/// Those entries of a list that can be read; of the others it is said which they are.
fn each<'a, E, T>(
    option: &str,
    entries: &'a [E],
    mut parse: impl FnMut(&'a E) -> Result<T, String>,
    wrong: &mut dyn FnMut(&str, String),
) -> Vec<T> {
    let mut parsed = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        match parse(entry) {
            Ok(value) => parsed.push(value),
            Err(message) => wrong(option, format!("entry {} {message}", index + 1)),
        }
    }
    parsed
}

fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Err(format!("is an address; write `{}` for it alone", IpNet::from(address.to_canonical())));
    }
    match text.parse() {
        Ok(IpNet::V6(network)) if network.addr().to_ipv4_mapped().is_some() => {
            Err(format!("`{text}` is an IPv4 network in IPv6's clothes; write it as IPv4, as `10.2.0.0/16`"))
        }
        Ok(network) => Ok(network),
        Err(_) => Err(format!("`{text}` is no network; write one as `10.2.0.0/16` or `fd00:2::/32`")),
    }
}

/// Whether it has the letters of a URI reference, and some.
fn is_reference(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !br#"<>"{}|\^`"#.contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(toml: &str) -> Config {
        toml::from_str(toml).unwrap()
    }

    fn issues(config: &Config) -> Vec<OptionIssue> {
        config.settings(Path::new(".")).err().unwrap_or_default()
    }

    /// What is said of a URL, with the other options as `toml`.
    fn of_url(url: &str, toml: &str) -> String {
        let config = Config { url: Some(url.to_owned()), ..config(toml) };
        let issues = issues(&config);
        assert!(issues.iter().all(|issue| issue.option == "url"), "{issues:?}");
        issues.into_iter().map(|issue| issue.message).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn defaults_are_there_and_unknown_options_are_refused() {
        assert_eq!(config(""), Config::default());
        let config = config("url = 'https://a.example'\ncontent = 'base64'\ntimeout = '15s'\nmax_content = '5 MB'");
        assert_eq!(
            (config.content, *config.timeout, config.max_content.get()),
            (Content::Base64, Duration::from_secs(15), 5_000_000)
        );
        assert_eq!(issues(&config), []);
        let error = toml::from_str::<Config>("headers = []").unwrap_err().to_string();
        assert!(error.contains("unknown field `headers`") && error.contains("secret_headers"), "{error}");
    }

    #[test]
    fn the_readme_has_the_options_as_they_are() {
        tidegate_plugin_sdk::assert_documented::<Config>(include_str!("../README.md"));
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let config = config(
            r#"
            url = "https://user:hunter2@10.0.0.1/?hunter2#x"
            secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "hunter2"]
            source = "a b"
            timeout = "61s"
            allow_networks = ["10.0.0.0", "everything", "::ffff:10.0.0.0/104"]
            ca_file = "no-such.pem"
            max_content = "1 GiB"
            secret_headers = ["Host: hunter2", "hunter2"]
            "#,
        );
        let issues = issues(&config);
        let options: Vec<_> = issues.iter().map(|issue| issue.option.as_str()).collect();
        assert_eq!(
            options,
            [
                "allow_networks",
                "allow_networks",
                "allow_networks",
                "secrets",
                "secret_headers",
                "secret_headers",
                "source",
                "timeout",
                "max_content",
                "ca_file",
                "url",
                "url",
                "url"
            ]
        );
        let said = format!("{issues:?}");
        for part in
            ["entry 2 does not begin with", "10.0.0.0/32", "10.0.0.1/32", "entry 2 has no colon", "from 1s to 1m"]
        {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(!said.contains("hunter2") && !format!("{:?}", config.secrets).contains("hunter2"), "{said}");
    }

    #[test]
    fn a_url_is_needed_and_its_secrets_are_not_repeated() {
        assert!(issues(&Config::default())[0].message.contains("is missing"));
        for (url, said) in [
            ("", "is no URL"),
            ("/hunter2", "is no URL"),
            ("https://", "is no URL"),
            ("https://hunter2 x/", "is no URL"),
            ("https://[::1", "is no URL"),
            ("https://256.0.0.1/", "is no URL"),
            ("ftp://a.example/hunter2", "neither https nor http"),
            ("file:///hunter2", "neither https nor http"),
            ("https://hunter2@a.example/", "user or a password"),
            ("https://a.example/?hunter2#hunter2", "fragment"),
        ] {
            let message = of_url(url, "");
            assert!(message.contains(said) && !message.contains("hunter2"), "{url}: {message}");
        }
    }

    #[test]
    fn an_address_is_checked_however_it_is_written() {
        for url in [
            "https://127.0.0.1/",
            "https://127.0.0.1./",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0x7f.0.0.1/",
            "https://0177.0.0.1/",
            "https://%31%32%37.0.0.1/",
            "https://①②⑦.⓪.⓪.①/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[0:0:0:0:0:ffff:7f00:1]/",
            "https://[::127.0.0.1]/",
            "https://0/",
            "https://169.254.169.254/latest/meta-data/",
            "https://[64:ff9b::a9fe:a9fe]/",
            "https:10.0.0.1",
            "https:\\\\10.0.0.1\\",
        ] {
            let message = of_url(url, "");
            assert!(
                message.contains("is not a public address") && message.contains("allow_networks"),
                "{url}: {message}"
            );
        }
        for url in ["https://8.8.8.8/", "https://[2606:4700:4700::1111]/", "https://134744072/", "https://a.example/"] {
            assert_eq!(of_url(url, ""), "", "{url}");
        }
        let allowed = "allow_networks = ['127.0.0.0/8']";
        for url in ["https://127.1:8443/", "http://0x7f000001/", "https://[::ffff:7f00:1]/"] {
            assert_eq!(of_url(url, allowed), "", "{url}");
        }
        assert!(of_url("https://[::1]/", allowed).contains("::1/128"));
    }

    #[test]
    fn without_encryption_only_to_networks_that_are_listed() {
        for url in ["http://a.example/", "http://8.8.8.8/"] {
            assert!(of_url(url, "").contains("insecure_http = true"), "{url}");
            assert_eq!(of_url(url, "insecure_http = true"), "", "{url}");
        }
        assert!(of_url("http://8.8.8.8/", "allow_networks = ['0.0.0.0/0']").contains("insecure_http"));
        assert_eq!(of_url("http://a.example/", "allow_networks = ['10.0.0.0/8']"), "");
        assert!(of_url("http://10.0.0.1/", "insecure_http = true").contains("allow_networks"));
    }
}
