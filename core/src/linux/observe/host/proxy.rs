//! docker-proxy, by what it was started with (cmd/docker-proxy/main_linux.go).

use std::fs;
use std::net::{IpAddr, SocketAddr};

use crate::addr::Transport;
use crate::plan::Proxy;

/// What the process is called.
pub(super) const NAME: &str = "docker-proxy";

/// What a process proxies, if it is one.
pub(super) fn of(pid: u32) -> Option<Proxy> {
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<String> =
        command.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    read(&words)
}

/// `docker-proxy -proto tcp -host-ip 0.0.0.0 -host-port 8080 -container-ip 172.17.0.2 -container-port 80`.
fn read(words: &[String]) -> Option<Proxy> {
    let (program, options) = words.split_first()?;
    if program.rsplit('/').next() != Some(NAME) {
        return None;
    }
    let value = |name: &str| {
        let at = options.iter().position(|word| word.trim_start_matches('-') == name)?;
        options.get(at + 1).map(String::as_str)
    };
    let end = |ip: &str, port: &str| -> Option<SocketAddr> {
        Some(SocketAddr::new(value(ip)?.parse::<IpAddr>().ok()?, value(port)?.parse().ok()?))
    };
    let transport = match value("proto")? {
        "tcp" => Transport::Tcp,
        "udp" => Transport::Udp,
        "sctp" => Transport::Sctp,
        _ => return None,
    };
    Some(Proxy {
        transport,
        listen: end("host-ip", "host-port")?,
        connect: end("container-ip", "container-port")?,
        // Since 28.0 the daemon opens the sockets, and says so.
        answers_by_route: !options.iter().any(|word| word.trim_start_matches('-') == "use-listen-fd"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_proxy_is_read_from_its_command() {
        let options = "-proto udp -host-ip :: -host-port 53 -container-ip fd00::2 -container-port 5353";
        let proxy = read(&words(&format!("/usr/bin/docker-proxy {options} -use-listen-fd"))).unwrap();
        assert_eq!(
            (proxy.listen, proxy.connect),
            ("[::]:53".parse().unwrap(), "[fd00::2]:5353".parse().unwrap())
        );
        assert!(!proxy.answers_by_route);
        assert!(read(&words(&format!("docker-proxy {options}"))).unwrap().answers_by_route);
        assert_eq!(read(&words(&format!("sh {options}"))), None);
        assert_eq!(read(&words("docker-proxy -proto tcp")), None);
    }
}
