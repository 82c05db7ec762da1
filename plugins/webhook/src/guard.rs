//! Whom a question may go to. A URL in a configuration must not become a way to what only this machine can reach: each address is
//! checked, and the connection goes to an address that was checked. What is public is [`crate::address`]'s business.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::Host;

use crate::address::{is_public, reached};
use crate::lookups::{Lookup, Lookups};

/// Decides on addresses.
#[derive(Debug)]
pub(crate) struct Guard {
    allowed: Vec<IpNet>,
    /// Nothing goes over the public Internet: it would not be encrypted.
    private_only: bool,
}

/// Why an address is not dialled, and which option would change that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{0} is not a public address; `allow_networks = [\"{network}\"]` would allow it", network = IpNet::from(*.0))]
    NotPublic(IpAddr),
    #[error(
        "{0} is a public address, and with http everybody on the way can read along; write https, or `insecure_http = true`"
    )]
    InTheClear(IpAddr),
}

/// Why a name is not dialled.
#[derive(Debug, thiserror::Error)]
#[error("{host} has no address that may be dialled: {refusal}")]
pub(crate) struct HostRefused {
    host: String,
    refusal: Refusal,
}

impl Guard {
    pub(crate) fn new(allowed: Vec<IpNet>, private_only: bool) -> Self {
        Self { allowed, private_only }
    }

    pub(crate) fn is_private_only(&self) -> bool {
        self.private_only
    }

    pub(crate) fn check(&self, address: IpAddr) -> Result<(), Refusal> {
        let address = address.to_canonical();
        match is_public(address) {
            true if self.private_only => Err(Refusal::InTheClear(address)),
            true => Ok(()),
            false if self.allows(address) || self.allows(reached(address)) => Ok(()),
            false => Err(Refusal::NotPublic(address)),
        }
    }

    fn allows(&self, address: IpAddr) -> bool {
        self.allowed.iter().any(|network| network.contains(&address))
    }

    /// Those of a name's addresses that may be dialled; at least one.
    fn pass(&self, host: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, HostRefused> {
        let (mut passed, mut refused) = (Vec::new(), None);
        for address in found {
            match self.check(address.ip()) {
                Ok(()) => passed.push(address),
                Err(refusal) => refused = refused.or(Some(refusal)),
            }
        }
        match refused {
            Some(refusal) if passed.is_empty() => Err(HostRefused { host: host.to_owned(), refusal }),
            _ => Ok(passed),
        }
    }
}

/// The only way in which the client finds addresses. A name is looked up once for a connection, so there is no second answer that could
/// be another one than what was checked.
pub(crate) struct Resolver {
    guard: Arc<Guard>,
    lookups: Arc<Lookups>,
}

impl Resolver {
    pub(crate) fn new(guard: Arc<Guard>, lookup: Lookup) -> Self {
        Self { guard, lookups: Arc::new(Lookups::new(lookup)) }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, lookups) = (self.guard.clone(), self.lookups.clone());
        Box::pin(async move {
            let passed = guard.pass(name.as_str(), lookups.find(name.as_str()).await?)?;
            Ok(Box::new(passed.into_iter()) as Addrs)
        })
    }
}

/// The address that stands in a URL in place of a name.
pub(crate) fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn guard(allowed: &[&str]) -> Guard {
        Guard::new(allowed.iter().map(|network| network.parse().unwrap()).collect(), false)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_not_public_has_to_be_listed() {
        let refused = guard(&[]).check(address("10.1.2.3")).unwrap_err().to_string();
        assert!(refused.contains("10.1.2.3 is not a public address"), "{refused}");
        assert!(refused.contains(r#"allow_networks = ["10.1.2.3/32"]"#), "{refused}");
        let guard = guard(&["10.0.0.0/8", "fd00::/8", "127.0.0.1/32"]);
        for allowed in ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "fd00::1", "127.0.0.1", "8.8.8.8"] {
            assert_eq!(guard.check(address(allowed)), Ok(()), "{allowed}");
        }
        for refused in
            ["127.0.0.2", "192.168.0.1", "::1", "fc00::1", "::ffff:127.0.0.2", "::10.1.2.3", "2002:a01:203::"]
        {
            assert_eq!(guard.check(address(refused)), Err(Refusal::NotPublic(address(refused).to_canonical())));
        }
    }

    #[test]
    fn a_mapped_address_is_no_ipv6_address() {
        assert!(guard(&["::/0"]).check(address("::1")).is_ok());
        assert!(guard(&["::/0"]).check(address("::ffff:127.0.0.1")).is_err());
        assert!(guard(&["64:ff9b::/96"]).check(address("64:ff9b::10.0.0.1")).is_ok());
    }

    #[test]
    fn without_encryption_only_what_is_listed_and_not_public() {
        let guard = Guard::new(vec!["0.0.0.0/0".parse().unwrap()], true);
        assert_eq!(guard.check(address("10.1.2.3")), Ok(()));
        let refused = guard.check(address("8.8.8.8")).unwrap_err().to_string();
        assert!(refused.contains("insecure_http = true"), "{refused}");
    }

    fn sockets(addresses: &[&str]) -> Vec<SocketAddr> {
        addresses.iter().map(|text| SocketAddr::new(address(text), 0)).collect()
    }

    #[test]
    fn of_a_name_the_addresses_that_pass_are_kept() {
        let guard = guard(&[]);
        let passed = guard.pass("a.example", sockets(&["10.0.0.1", "8.8.8.8", "::1"])).unwrap();
        assert_eq!(passed, sockets(&["8.8.8.8"]));
        let refused = guard.pass("a.example", sockets(&["10.0.0.1", "::1"])).unwrap_err().to_string();
        assert!(refused.contains("a.example") && refused.contains("allow_networks"), "{refused}");
    }

    #[tokio::test]
    async fn a_name_that_changes_its_mind_is_checked_again() {
        let answers = Mutex::new(vec![sockets(&["127.0.0.1"]), sockets(&["93.184.216.34"])]);
        let lookup: Lookup = Arc::new(move |_| Ok(answers.lock().unwrap().pop().unwrap()));
        let resolver = Resolver::new(Arc::new(guard(&[])), lookup);
        let found: Vec<_> = resolver.resolve("rebound.example".parse().unwrap()).await.unwrap().collect();
        assert_eq!(found, sockets(&["93.184.216.34"]));
        let Err(error) = resolver.resolve("rebound.example".parse().unwrap()).await else { panic!("passed") };
        assert!(error.is::<HostRefused>(), "{error}");
    }
}
