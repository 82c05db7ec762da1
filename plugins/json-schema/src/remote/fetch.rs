//! One document from a host: bounded in time and size, and from nowhere but the address that was asked for.

use std::error::Error;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Url};

use crate::schema::LARGEST;

/// From the first packet to the last.
const LONGEST: Duration = Duration::from_secs(10);

/// With `tls` it reads the certificates of this machine, which blocks. There may be none, as in small images of containers.
pub fn client(tls: bool) -> Result<Client, String> {
    // A redirect leads to hosts that nobody has allowed, and a proxy of the environment is one of them.
    let client = Client::builder().redirect(Policy::none()).no_proxy().timeout(LONGEST);
    let client = if tls { client } else { client.tls_certs_only([]) };
    client.build().map_err(|error| format!("cannot speak to hosts: {}", with_causes(&error)))
}

pub async fn fetch(client: &Client, url: Url) -> Result<Vec<u8>, String> {
    let cannot = |why: String| format!("cannot fetch {url}: {why}");
    let failed = |error: reqwest::Error| cannot(with_causes(&error.without_url()));
    let too_large = || cannot(format!("it is larger than {LARGEST}"));
    let mut response = client.get(url.clone()).send().await.map_err(failed)?;
    let status = response.status();
    if status.is_redirection() {
        return Err(cannot(format!("the answer is {status}, and redirects are not followed; refer to where it leads")));
    }
    if !status.is_success() {
        return Err(cannot(format!("the answer is {status}")));
    }
    if response.content_length().is_some_and(|length| length > LARGEST.get()) {
        return Err(too_large());
    }
    let mut text = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(failed)? {
        if (text.len() + piece.len()) as u64 > LARGEST.get() {
            return Err(too_large());
        }
        text.extend_from_slice(&piece);
    }
    Ok(text)
}

/// The error of a client says nothing without what it comes from.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
