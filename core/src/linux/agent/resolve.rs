//! Names, as the libc of this process resolves them: with its own hosts file, nsswitch.conf and resolv.conf.

use std::net::IpAddr;

use dns_lookup::{AddrFamily, AddrInfoHints, LookupErrorKind, SockType, getaddrinfo};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::addr::Family;
use crate::linux::Error;

/// How many names are looked up at once: each takes a thread until its nameservers have answered or not.
static LOOKUPS: Semaphore = Semaphore::const_new(64);

/// The addresses of a name in libc's order (RFC 3484); none where it has none.
///
/// Without a family both are asked for, of one socket type and with no flags: what a program does that will connect to
/// the first that answers (`std::net::ToSocketAddrs`, curl). AI_ADDRCONFIG is not set: it would hide addresses by what
/// the machine has besides loopback.
pub(super) async fn resolve(name: &str, family: Option<Family>) -> Result<Vec<IpAddr>, Error> {
    let failed = |cause: String| Error::words("look up", name, cause);
    let _permit = LOOKUPS.acquire().await.map_err(|e| failed(e.to_string()))?;
    let asked = name.to_owned();
    // A thread of its own, because libc waits: it is born of the agent's one thread after that has entered its
    // namespaces, and so is in the same ones (man 2 clone).
    spawn_blocking(move || look_up(&asked, family)).await.map_err(|e| failed(e.to_string()))?
}

fn look_up(name: &str, family: Option<Family>) -> Result<Vec<IpAddr>, Error> {
    let address = family.map_or(0, |family| match family {
        Family::V4 => AddrFamily::Inet.into(),
        Family::V6 => AddrFamily::Inet6.into(),
    });
    let hints = AddrInfoHints { address, socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
    match getaddrinfo(Some(name), None, Some(hints)) {
        Ok(found) => {
            let mut addresses: Vec<_> = found.flatten().map(|info| info.sockaddr.ip()).collect();
            addresses.dedup();
            Ok(addresses)
        }
        Err(error) if matches!(error.kind(), LookupErrorKind::System | LookupErrorKind::Memory) => {
            Err(Error::new("look up", name, &error.into()))
        }
        Err(_) => Ok(Vec::new()),
    }
}
