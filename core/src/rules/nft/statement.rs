//! What a rule does, in nft's words.

use std::net::IpAddr;

use super::words::{Reader, Word};
use crate::addr::PortRange;
use crate::rules::iptables::ParseError;
use crate::rules::{MarkValue, NatRange, PortMap, RejectWith, Rule, Target};

/// A target as a statement; none where it only watches.
pub(super) fn statement(target: &Target) -> Result<Option<String>, String> {
    let words = match target {
        Target::Accept => "accept".to_owned(),
        Target::Drop => "drop".to_owned(),
        Target::Return => "return".to_owned(),
        Target::Jump(chain) => format!("jump {chain}"),
        Target::Goto(chain) => format!("goto {chain}"),
        Target::Vmap { key, map } => super::vmap(*key, map),
        Target::Reject(with) => reject(*with),
        Target::Dnat(range) => format!("dnat {}", nat(range)),
        Target::Snat(range) => format!("snat {}", nat(range)),
        Target::Masquerade(ports) => format!("masquerade{}", ports_to(*ports)),
        Target::Redirect(ports) => format!("redirect{}", ports_to(*ports)),
        Target::Mark(MarkValue { value, mask: u32::MAX }) => format!("meta mark set {value:#x}"),
        Target::Mark(MarkValue { value, mask }) => {
            format!("meta mark set meta mark & {:#x} ^ {value:#x}", !mask)
        }
        Target::NoTrack { .. } => "notrack".to_owned(),
        Target::Watch { .. } => return Ok(None),
        Target::Other { .. } => {
            return Err(
                Rule { matches: Vec::new(), target: Some(target.clone()), counters: None }.to_string()
            );
        }
    };
    Ok(Some(words))
}

fn reject(with: RejectWith) -> String {
    match with {
        RejectWith::TcpReset => "reject with tcp reset".to_owned(),
        RejectWith::Icmp { code } => format!("reject with icmp {code}"),
        RejectWith::Icmpv6 { code } => format!("reject with icmpv6 {code}"),
    }
}

/// `to 172.18.0.2:80`, with how it is chosen.
fn nat(range: &NatRange) -> String {
    let ports = range.ports.ports.map(|p| span(p.first(), p.last()));
    let to = match (range.addresses, ports) {
        (Some((first, last)), ports) => {
            let ports = ports.map(|ports| format!(":{ports}")).unwrap_or_default();
            let bare =
                |a: IpAddr| if a.is_ipv6() && !ports.is_empty() { format!("[{a}]") } else { a.to_string() };
            format!(
                "to {}{ports}",
                if first == last { bare(first) } else { format!("{}-{}", bare(first), bare(last)) }
            )
        }
        (None, Some(ports)) => format!("to :{ports}"),
        (None, None) => String::new(),
    };
    let persistent = if range.persistent { " persistent" } else { "" };
    format!("{to}{}{persistent}", how(range.ports)).trim().to_owned()
}

fn ports_to(ports: PortMap) -> String {
    let to = ports.ports.map(|p| format!(" to :{}", span(p.first(), p.last()))).unwrap_or_default();
    format!("{to}{}", how(ports))
}

const fn how(ports: PortMap) -> &'static str {
    match (ports.random, ports.random_fully) {
        (_, true) => " fully-random",
        (true, false) => " random",
        (false, false) => "",
    }
}

fn span(first: u16, last: u16) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

/// Reads a statement that ends a rule, from its first word on; none of another word.
pub(super) fn read<'a>(word: Word<'a>, reader: &mut Reader<'a>) -> Result<Option<Target>, ParseError> {
    let target = match word.text {
        "accept" => Target::Accept,
        "drop" => Target::Drop,
        "return" => Target::Return,
        "jump" => Target::Jump(reader.name()?),
        "goto" => Target::Goto(reader.name()?),
        "masquerade" => Target::Masquerade(PortMap::default()),
        "dnat" => Target::Dnat(range(reader)?),
        "snat" => Target::Snat(range(reader)?),
        _ => return Ok(None),
    };
    Ok(Some(target))
}

/// `to 172.18.0.2:80`, `to [fd00::2]:80`, `to 203.0.113.10`, `to :53`.
fn range(reader: &mut Reader<'_>) -> Result<NatRange, ParseError> {
    reader.expect("to")?;
    reader.one_of("one address, one port, or both", |text| {
        if let Some(port) = text.strip_prefix(':') {
            let ports = Some(PortRange::single(port.parse().ok()?));
            let ports = PortMap { ports, ..PortMap::default() };
            return Some(NatRange { addresses: None, ports, persistent: false });
        }
        let socket = text.parse::<std::net::SocketAddr>().map(|s| NatRange::to(s.ip(), Some(s.port())));
        socket.or_else(|_| text.parse::<IpAddr>().map(|address| NatRange::to(address, None))).ok()
    })
}
