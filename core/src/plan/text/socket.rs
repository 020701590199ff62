//! What listens: docker-proxy, and stand-ins for the rest (`socat`, `dnsmasq`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{exec, kept, shell};
use crate::plan::{Listener, NsName, Proxy, Reservation, Resolver};

/// A command in the background, in a network namespace.
pub(super) fn start(ns: &NsName, command: &str) -> String {
    format!("{} {command} &", exec(ns))
}

/// A docker-proxy tells its parent on descriptor 3 that it listens, and closes it: something must stand there.
pub(super) fn start_proxy(ns: &NsName, of: &Proxy) -> String {
    format!("{} {} 3>/dev/null &", exec(ns), proxy(of))
}

/// The end of a command that was started in the background.
pub(super) fn stop(command: &str) -> String {
    let plain = command.replace(['\'', '"'], "");
    format!("pkill -xf {}", shell::quote(&pattern(&plain)))
}

/// A regular expression that matches a text and nothing else.
fn pattern(text: &str) -> String {
    text.chars().flat_map(|c| "\\.[]*^$+?(){}|".contains(c).then_some('\\').into_iter().chain([c])).collect()
}

/// As dockerd starts it (cmd/docker-proxy), but for the socket it hands over.
pub(super) fn proxy(proxy: &Proxy) -> String {
    let Proxy { transport, listen, connect, .. } = proxy;
    format!(
        "docker-proxy -proto {transport} -host-ip {} -host-port {} -container-ip {} -container-port {}",
        listen.ip(),
        listen.port(),
        connect.ip(),
        connect.port()
    )
}

/// A socket that is bound, and gives nobody an answer.
pub(super) fn reservation(reservation: &Reservation) -> String {
    let SocketOptions { family, bind } = socket(Some(reservation.listen.ip()));
    let (transport, port) = (reservation.transport, reservation.listen.port());
    format!("socat {transport}{family}-listen:{port}{bind} system:false")
}

/// A socket that answers with its name.
pub(super) fn listener(listener: &Listener) -> String {
    let SocketOptions { family, bind } = socket(listener.address);
    let Listener { node, transport, port, .. } = listener;
    let answer = shell::quote(&format!("system:echo {node}:{port}"));
    format!("socat {transport}{family}-listen:{port}{bind},fork {answer}")
}

/// How socat is told where to bind.
struct SocketOptions {
    family: &'static str,
    bind: String,
}

fn socket(address: Option<IpAddr>) -> SocketOptions {
    let (family, bind) = match address {
        None => ("6", ",ipv6only=0,reuseaddr".to_owned()),
        Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => ("4", ",reuseaddr".to_owned()),
        Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => ("6", ",ipv6only=1,reuseaddr".to_owned()),
        Some(IpAddr::V4(address)) => ("4", format!(",bind={address},reuseaddr")),
        Some(IpAddr::V6(address)) => ("6", format!(",bind=[{address}],reuseaddr")),
    };
    SocketOptions { family, bind }
}

/// dnsmasq with the names, on the port for UDP, and a way to it from the port for TCP; the rules that lead to both
/// are the namespace's own.
pub(super) fn resolver(ns: &NsName, resolver: &Resolver) -> String {
    let both = format!("{} & exec dnsmasq --conf-file=- --pid-file={}", tcp(resolver), kept(ns, "resolver"));
    shell::feed(&format!("{} sh -c {}", exec(ns), shell::quote(&both)), &configuration(resolver))
}

pub(super) fn no_resolver(resolver: &Resolver, ns: &NsName) -> String {
    format!("{}; kill \"$(cat {})\"", stop(&tcp(resolver)), kept(ns, "resolver"))
}

fn tcp(resolver: &Resolver) -> String {
    let Resolver { udp_port, tcp_port, .. } = resolver;
    let options = "bind=127.0.0.11,reuseaddr,fork";
    format!("socat tcp4-listen:{tcp_port},{options} tcp4:127.0.0.11:{udp_port}")
}

/// The names in dnsmasq's words (man 8 dnsmasq): a name of several addresses has a line for each.
fn configuration(resolver: &Resolver) -> String {
    let mut text = format!(
        "port={}\nlisten-address=127.0.0.11\nbind-interfaces\nno-resolv\nno-hosts\nlocal-ttl=600\n",
        resolver.udp_port
    );
    for (name, addresses) in &resolver.zone.names {
        for address in addresses {
            text += &format!("host-record={name},{address}\n");
        }
    }
    for (address, name) in &resolver.zone.reverse {
        text += &format!("ptr-record={},{name}\n", reverse(*address));
    }
    for upstream in &resolver.upstream {
        text += if upstream.from_host { "# asked from the host's namespace:\n" } else { "" };
        text += &format!("server={}\n", upstream.address);
    }
    text
}

/// The name under which an address is looked up (RFC 1035 §3.5, RFC 3596 §2.5).
fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
            let labels: String = nibbles.map(|nibble| format!("{nibble:x}.")).collect();
            format!("{labels}ip6.arpa")
        }
    }
}
