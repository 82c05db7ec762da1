//! Who vouches for a receiver over https: the authorities that this machine trusts, and those that the operator names.

use std::path::Path;

use reqwest::{Certificate, Client, ClientBuilder, Url};
use tidegate_plugin_sdk::read_named_file;
use tidegate_plugin_sdk::units::ByteSize;

/// Several times what whole systems trust.
const LARGEST: ByteSize = ByteSize::mib(4);

/// The certificates in a file, all of which can be used.
pub(crate) fn read(path: &Path) -> Result<Vec<Certificate>, String> {
    let contents = read_named_file(path, LARGEST)?;
    let unusable = |error: reqwest::Error| {
        let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        format!("{} has a certificate that cannot be used: {why}", path.display())
    };
    let certificates = Certificate::from_pem_bundle(&contents).map_err(unusable)?;
    if certificates.is_empty() {
        return Err(format!(
            "{} has no certificate in it; those in PEM begin with `-----BEGIN CERTIFICATE-----`",
            path.display()
        ));
    }
    // Whether they are more than base64 is seen by whoever uses them.
    Client::builder().tls_certs_only(certificates.clone()).build().map_err(unusable)?;
    Ok(certificates)
}

/// Lets a client trust them, besides those that this machine trusts.
pub(crate) fn trust(client: ClientBuilder, url: &Url, authorities: Vec<Certificate>) -> ClientBuilder {
    match url.scheme() {
        "https" => client.tls_certs_merge(authorities),
        // Nobody shows a certificate, and a machine that has none of authorities, as small images of containers, must do.
        _ => client.tls_certs_only([]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";

    #[test]
    fn what_is_no_certificate_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        for (contents, said) in [
            (String::new(), "no certificate in it"),
            ("-----BEGIN PRIVATE KEY-----\naGk=\n-----END PRIVATE KEY-----\n".to_owned(), "no certificate in it"),
            (format!("{BEGIN}\n!\n{END}\n"), "cannot be used"),
            (format!("{BEGIN}\naGk=\n"), "cannot be used"),
            (format!("{BEGIN}\naGk=\n{END}\n"), "cannot be used"),
        ] {
            std::fs::write(&path, &contents).unwrap();
            let message = read(&path).unwrap_err();
            assert!(message.contains("ca.pem") && message.contains(said), "{contents}: {message}");
        }
    }
}
