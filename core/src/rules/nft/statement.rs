//! What a rule does, in nft's words.

use std::net::IpAddr;

use super::AS_WRITTEN;
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
        Target::Other { name, options } if name == AS_WRITTEN => options.join(" "),
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
