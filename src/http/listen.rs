//! Addresses to listen on: `localhost` in both families, every address of a name, and words for what can be in the way.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpListener;

use super::config::ListenAddress;

/// How often a free port is looked for that both address families have.
const FREE_PORT_TRIES: usize = 16;

/// What a kernel without IPv6 says; the standard library has no kind for it.
const NO_SUCH_FAMILY: i32 = rustix::io::Errno::AFNOSUPPORT.raw_os_error();

/// Sockets that listen already; nobody is served before [`super::server::serve`].
#[derive(Debug)]
pub struct Listeners {
    pub(super) sockets: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
}

/// Why the gateway cannot listen. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error(
        "cannot listen on {address}: another program has this port. Stop it, or choose another port in \
         server.listen (now `{configured}`)"
    )]
    PortTaken { configured: ListenAddress, address: SocketAddr },
    #[error(
        "cannot listen on {address}: this user may not. Choose a port from 1024 on in server.listen (now \
         `{configured}`), or give the program the capability CAP_NET_BIND_SERVICE"
    )]
    NotAllowed { configured: ListenAddress, address: SocketAddr },
    #[error("cannot listen on {address}: this machine has no such address; mend server.listen (now `{configured}`)")]
    NoSuchAddress { configured: ListenAddress, address: SocketAddr },
    #[error("cannot listen on `{configured}` in server.listen: {source}")]
    Other { configured: ListenAddress, source: io::Error },
}

impl Listeners {
    /// The addresses as they came out, with ports where 0 was asked for.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

/// Listens on all of them, or on none.
pub async fn bind(configured: &[ListenAddress]) -> Result<Listeners, BindError> {
    let mut sockets = Vec::new();
    let mut known = HashSet::new();
    for address in configured {
        let found = if address.host.eq_ignore_ascii_case("localhost") {
            bind_localhost(address, &known).await?
        } else {
            bind_all(address, resolve(address).await?, &known).await?
        };
        for socket in found {
            known.insert(socket.local_addr().map_err(|source| other(address, source))?);
            sockets.push(socket);
        }
    }
    let addresses = sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect();
    Ok(Listeners { sockets, addresses })
}

async fn resolve(address: &ListenAddress) -> Result<Vec<SocketAddr>, BindError> {
    if let Ok(ip) = address.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, address.port)]);
    }
    let found = tokio::net::lookup_host((address.host.as_str(), address.port)).await;
    found.map(Iterator::collect).map_err(|source| other(address, source))
}

async fn bind_all(
    configured: &ListenAddress,
    addresses: Vec<SocketAddr>,
    known: &HashSet<SocketAddr>,
) -> Result<Vec<TcpListener>, BindError> {
    let mut sockets = Vec::new();
    for address in addresses {
        if !known.contains(&address) {
            sockets.push(listen(configured, address).await?);
        }
    }
    Ok(sockets)
}

/// Whatever the hosts file says, both loopback addresses; machines without IPv6 do with one.
async fn bind_localhost(
    configured: &ListenAddress,
    known: &HashSet<SocketAddr>,
) -> Result<Vec<TcpListener>, BindError> {
    let (four, six) = (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST));
    let mut tries = 0;
    loop {
        let first = bind_all(configured, vec![SocketAddr::new(four, configured.port)], known).await?;
        let port = match first.first().map(TcpListener::local_addr) {
            Some(address) => address.map_err(|source| other(configured, source))?.port(),
            None => configured.port,
        };
        tries += 1;
        match bind_all(configured, vec![SocketAddr::new(six, port)], known).await {
            Ok(second) => return Ok(first.into_iter().chain(second).collect()),
            Err(BindError::NoSuchAddress { .. }) => return Ok(first),
            Err(BindError::PortTaken { .. }) if configured.port == 0 && tries < FREE_PORT_TRIES => {}
            Err(error) => return Err(error),
        }
    }
}

async fn listen(configured: &ListenAddress, address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| {
        let configured = configured.clone();
        match source.kind() {
            io::ErrorKind::AddrInUse => BindError::PortTaken { configured, address },
            io::ErrorKind::PermissionDenied => BindError::NotAllowed { configured, address },
            io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported => {
                BindError::NoSuchAddress { configured, address }
            }
            _ if address.is_ipv6() && source.raw_os_error() == Some(NO_SUCH_FAMILY) => {
                BindError::NoSuchAddress { configured, address }
            }
            _ => BindError::Other { configured, source },
        }
    })
}

fn other(configured: &ListenAddress, source: io::Error) -> BindError {
    BindError::Other { configured: configured.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn localhost_is_both_families_on_one_port() {
        let listeners = bind(&["localhost:0".parse().unwrap()]).await.unwrap();
        let addresses = listeners.addresses();
        assert!(addresses.iter().any(|address| address.ip() == Ipv4Addr::LOCALHOST));
        assert!(addresses.iter().all(|address| address.port() == addresses[0].port()));
    }

    #[tokio::test]
    async fn a_taken_port_is_named_with_what_to_do() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        let error = bind(&[address.to_string().parse().unwrap()]).await.unwrap_err().to_string();
        assert!(error.contains(&address.to_string()) && error.contains("server.listen"), "{error}");
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_named() {
        let error = bind(&["192.0.2.1:0".parse().unwrap()]).await.unwrap_err().to_string();
        assert!(error.contains("no such address"), "{error}");
    }

    #[tokio::test]
    async fn one_address_written_twice_is_one() {
        let first = bind(&["127.0.0.1:0".parse().unwrap()]).await.unwrap();
        let port = first.addresses()[0].port();
        drop(first);
        let twice = [format!("127.0.0.1:{port}"), format!("localhost:{port}")].map(|text| text.parse().unwrap());
        let listeners = bind(&twice).await.unwrap();
        let four = listeners.addresses().iter().filter(|address| address.is_ipv4()).count();
        assert_eq!(four, 1);
    }
}
