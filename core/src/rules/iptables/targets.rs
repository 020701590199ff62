//! What the options of each modelled target mean.

use super::ParseError;
use super::extension::Extension;
use super::{grammar, names, value};
use crate::addr::Family;
use crate::rules::{MarkValue, NatRange, PortMap, RejectWith, Target};

/// The target that a name and its options stand for.
pub(super) fn build(target: &Extension<'_>, family: Family) -> Result<Target, ParseError> {
    let name = target.name.text.clone();
    let options = target.words.clone();
    if target.is_verbatim() {
        return Ok(if grammar::is_watcher(&name) {
            Target::Watch { name, options }
        } else {
            Target::Other { name, options }
        });
    }
    Ok(match name.as_str() {
        "ACCEPT" => Target::Accept,
        "DROP" => Target::Drop,
        "RETURN" => Target::Return,
        "NOTRACK" => Target::NoTrack { old_name: true },
        "CT" if target.flag("--notrack")? => Target::NoTrack { old_name: false },
        "REJECT" => Target::Reject(reject(target, family)?),
        "DNAT" => nat(target, family, "--to-destination")?,
        "SNAT" => nat(target, family, "--to-source")?,
        "MASQUERADE" => Target::Masquerade(port_map(target)?),
        "REDIRECT" => Target::Redirect(port_map(target)?),
        "MARK" => Target::Mark(mark(target)?),
        _ => Target::Other { name, options },
    })
}

fn reject(target: &Extension<'_>, family: Family) -> Result<RejectWith, ParseError> {
    let icmp = |code| match family {
        Family::V4 => RejectWith::Icmp { code },
        Family::V6 => RejectWith::Icmpv6 { code },
    };
    let Some(option) = target.plain("--reject-with")? else {
        return Ok(match family {
            Family::V4 => icmp(3),
            Family::V6 => icmp(4),
        });
    };
    let word = option.value()?;
    if matches!(word.text.as_str(), "tcp-reset" | "tcp-rst") {
        return Ok(RejectWith::TcpReset);
    }
    let known: Vec<_> = names::rejects(family).iter().map(|(name, _)| *name).collect();
    names::reject_code(family, &word.text)
        .map(icmp)
        .ok_or_else(|| word.expected(format!("tcp-reset, {}", known.join(", "))))
}

fn nat(target: &Extension<'_>, family: Family, option: &str) -> Result<Target, ParseError> {
    let to =
        target.plain(option)?.ok_or_else(|| target.name.expected(format!("{option} behind the target")))?;
    let to = value::nat_to(family, to.value()?)?;
    if to.shifted {
        return Ok(Target::Other { name: target.name.text.clone(), options: target.words.clone() });
    }
    let ports = PortMap {
        random: target.flag("--random")?,
        random_fully: target.flag("--random-fully")?,
        ..to.ports
    };
    let range = NatRange { addresses: to.addresses, ports, persistent: target.flag("--persistent")? };
    Ok(if option == "--to-source" { Target::Snat(range) } else { Target::Dnat(range) })
}

fn port_map(target: &Extension<'_>) -> Result<PortMap, ParseError> {
    let ports = target.plain("--to-ports")?.map(|option| {
        let word = option.value()?;
        value::nat_ports(word, &word.text)
    });
    Ok(PortMap {
        ports: ports.transpose()?,
        random: target.flag("--random")?,
        random_fully: target.flag("--random-fully")?,
    })
}

/// MARK's five ways to say which bits are cleared and which are flipped (libxt_MARK.c).
fn mark(target: &Extension<'_>) -> Result<MarkValue, ParseError> {
    let [option] = target.options.as_slice() else {
        return Err(target
            .name
            .expected("one of --set-xmark, --set-mark, --and-mark, --or-mark, --xor-mark"));
    };
    let word = option.value()?;
    Ok(match option.known.names.first() {
        Some(&"--set-mark") => {
            let mark = value::mark(word)?;
            MarkValue { value: mark.value, mask: mark.value | mark.mask }
        }
        Some(&"--and-mark") => MarkValue { value: 0, mask: !value::bits(word)? },
        Some(&"--or-mark") => {
            let bits = value::bits(word)?;
            MarkValue { value: bits, mask: bits }
        }
        Some(&"--xor-mark") => MarkValue { value: value::bits(word)?, mask: 0 },
        Some(_) | None => value::mark(word)?,
    })
}
