//! The values options take: addresses, ports, marks, interface patterns, lists of names.

use std::net::IpAddr;
use std::str::FromStr;

use super::lex::Word;
use super::names;
use super::{MarkError, ParseError};
use crate::addr::{Family, IpNet, PortRange};
use crate::rules::{IfPattern, MarkValue, PortMap, Protocol};

/// An IPv4 address as iptables takes it: one to four numbers, the missing ones 0.
fn ipv4(text: &str) -> Option<IpAddr> {
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for (at, octet) in octets.iter_mut().enumerate() {
        match parts.next() {
            Some(part) => *octet = part.parse().ok()?,
            None if at > 0 => break,
            None => return None,
        }
    }
    parts.next().is_none().then(|| IpAddr::from(octets))
}

fn address(family: Family, text: &str) -> Option<IpAddr> {
    match family {
        Family::V4 => ipv4(text),
        Family::V6 => text.parse().ok().filter(|a: &IpAddr| a.is_ipv6()),
    }
}

/// A prefix length, or a netmask without holes.
fn prefix_length(family: Family, text: &str) -> Option<u8> {
    let bits = match family {
        Family::V4 => 32,
        Family::V6 => 128,
    };
    match text.parse::<u8>() {
        Ok(length) => (length <= bits).then_some(length),
        Err(_) => ipnet::ip_mask_to_prefix(address(family, text)?).ok(),
    }
}

/// `-s` and `-d`: an address, with a prefix length or a netmask; the bits beyond it are cleared, as iptables does.
pub(super) fn net(family: Family, word: &Word<'_>, text: &str) -> Result<IpNet, ParseError> {
    let kind = match family {
        Family::V4 => "an IPv4 address, as in 192.0.2.0/24, and no name (names depend on the machine)",
        Family::V6 => "an IPv6 address, as in 2001:db8::/32, and no name (names depend on the machine)",
    };
    let (addr, mask) = text.split_once('/').map_or((text, None), |(addr, mask)| (addr, Some(mask)));
    let addr = address(family, addr).ok_or_else(|| word.expected(kind))?;
    let Some(mask) = mask else { return Ok(IpNet::from(addr)) };
    prefix_length(family, mask)
        .and_then(|length| IpNet::new(addr, length).ok())
        .map(|net| net.trunc())
        .ok_or_else(|| word.expected("a prefix length or a netmask without holes behind the '/'"))
}

/// An unsigned number as iptables takes it (`xtables_strtoui`): decimal, `0x` hexadecimal, or octal with a leading 0.
pub(super) fn number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None if text.len() > 1 && text.starts_with('0') => (text, 8),
        None => (text, 10),
    };
    if digits.starts_with('+') { None } else { u32::from_str_radix(digits, radix).ok() }
}

fn port(word: &Word<'_>, text: &str) -> Result<u16, ParseError> {
    number(text).and_then(|n| u16::try_from(n).ok()).ok_or_else(|| {
        word.expected(
            "a port number from 0 to 65535 (names of services depend on the machine's /etc/services)",
        )
    })
}

/// `80`, or a range with `separator` between its ends; with ':' either end may be missing.
fn port_range(word: &Word<'_>, text: &str, separator: char) -> Result<PortRange, ParseError> {
    let Some((first, last)) = text.split_once(separator) else {
        return Ok(PortRange::single(port(word, text)?));
    };
    let open = separator == ':';
    let first = if open && first.is_empty() { 0 } else { port(word, first)? };
    let last = if open && last.is_empty() { u16::MAX } else { port(word, last)? };
    PortRange::new(first, last).ok_or_else(|| word.expected("the lower port of a range first"))
}

/// `--sport`, `--dport`: a port or `FIRST:LAST`.
pub(super) fn match_ports(word: &Word<'_>, text: &str) -> Result<PortRange, ParseError> {
    port_range(word, text, ':')
}

/// `--to-ports`: a port or `FIRST-LAST`.
pub(super) fn nat_ports(word: &Word<'_>, text: &str) -> Result<PortRange, ParseError> {
    port_range(word, text, '-')
}

/// `VALUE` or `VALUE/MASK`, as `--mark` takes it.
impl FromStr for MarkValue {
    type Err = MarkError;

    fn from_str(text: &str) -> Result<Self, MarkError> {
        let (value, mask) = text.split_once('/').map_or((text, None), |(value, mask)| (value, Some(mask)));
        let number = |part| number(part).ok_or_else(|| MarkError(text.to_owned()));
        Ok(Self { value: number(value)?, mask: mask.map_or(Ok(u32::MAX), number)? })
    }
}

/// `VALUE` or `VALUE/MASK`.
pub(super) fn mark(word: &Word<'_>) -> Result<MarkValue, ParseError> {
    word.text.parse().map_err(|_| word.expected("a mark: VALUE or VALUE/MASK, as in 0x1/0xff"))
}

/// A number of 32 bits, as MARK's bit operations take.
pub(super) fn bits(word: &Word<'_>) -> Result<u32, ParseError> {
    number(&word.text).ok_or_else(|| word.expected("a number of 32 bits, as in 0x4000"))
}

/// `-p`: a name or a number.
pub(super) fn protocol(word: &Word<'_>) -> Result<Protocol, ParseError> {
    let text = word.text.to_ascii_lowercase();
    let numbered = || number(&text).and_then(|n| u8::try_from(n).ok()).map(Protocol);
    names::protocol(&text)
        .or_else(numbered)
        .ok_or_else(|| word.expected("a protocol by name or number, as in tcp, udp, icmp or 47"))
}

/// `-i`, `-o`: a device's name, or the beginning of names and a `+`.
pub(super) fn interface(word: &Word<'_>) -> Result<IfPattern, ParseError> {
    let bad = |c: char| c == '/' || c.is_whitespace();
    if word.text.is_empty() || word.text.len() > 15 || word.text.contains(bad) {
        return Err(word.expected("an interface name of 1 to 15 bytes, or the beginning of one and a '+'"));
    }
    Ok(IfPattern(word.text.clone()))
}

/// A list of names with commas between, any case, as the set it means in the order iptables writes it.
pub(super) fn list<T: Copy>(word: &Word<'_>, known: &[(&str, T)]) -> Result<Vec<T>, ParseError> {
    let asked: Vec<_> = word.text.split(',').map(str::to_ascii_uppercase).collect();
    if asked.iter().any(|name| known.iter().all(|(k, _)| k != name)) {
        let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
        return Err(word.expected(format!("a list of {}", names.join(", "))));
    }
    Ok(known.iter().filter(|(name, _)| asked.iter().any(|a| a == name)).map(|(_, value)| *value).collect())
}

/// Where NAT translates to: addresses, and ports after the last `:`.
pub(super) struct NatTo {
    /// The addresses.
    pub addresses: Option<(IpAddr, IpAddr)>,
    /// The ports.
    pub ports: PortMap,
    /// Whether ports are shifted (`:80-90/8080`), which is not modelled.
    pub shifted: bool,
}

/// `192.0.2.2:80`, `192.0.2.2-192.0.2.5`, `:80-90`, `[2001:db8::2]:80`.
pub(super) fn nat_to(family: Family, word: &Word<'_>) -> Result<NatTo, ParseError> {
    let text = word.text.as_str();
    let bad = || {
        word.expected("where to: ADDRESS[-ADDRESS][:PORT[-PORT]], an IPv6 address with a port in brackets")
    };
    let (addresses, ports) = match (family, text.strip_prefix('[')) {
        (Family::V4, _) => text.split_once(':').map_or((text, None), |(a, p)| (a, Some(p))),
        (Family::V6, None) => (text, None),
        (Family::V6, Some(rest)) => {
            let (addresses, ports) = rest.split_once(']').ok_or_else(bad)?;
            (addresses, ports.strip_prefix(':'))
        }
    };
    let shifted = ports.is_some_and(|p| p.contains('/'));
    let ports = ports.filter(|_| !shifted).map(|p| nat_ports(word, p)).transpose()?;
    let (first, last) = addresses.split_once('-').unwrap_or((addresses, addresses));
    let addresses = match addresses {
        "" => None,
        _ => Some((address(family, first).ok_or_else(bad)?, address(family, last).ok_or_else(bad)?)),
    };
    Ok(NatTo { addresses, ports: PortMap { ports, ..PortMap::default() }, shifted })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Word<'_> {
        Word { raw: text, text: text.to_owned(), line: 1, column: 1 }
    }

    #[test]
    fn an_address_is_cut_to_its_prefix() {
        for (text, cut) in [
            ("1.2.3.4", "1.2.3.4/32"),
            ("1.2.3.4/24", "1.2.3.0/24"),
            ("1.2.3.4/255.255.0.0", "1.2.0.0/16"),
            ("10/8", "10.0.0.0/8"),
            ("0/0", "0.0.0.0/0"),
        ] {
            assert_eq!(net(Family::V4, &word(text), text).unwrap().to_string(), cut);
        }
    }

    #[test]
    fn a_name_or_a_mask_with_holes_is_no_address() {
        for text in ["localhost", "1.2.3.4/255.0.255.0", "1.2.3.4/33", "", "::1"] {
            assert!(net(Family::V4, &word(text), text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_are_read_as_c_does() {
        assert_eq!((number("0x10"), number("010"), number("10")), (Some(16), Some(8), Some(10)));
        assert_eq!((number("+1"), number("080"), number("")), (None, None, None));
    }

    #[test]
    fn a_range_of_ports_may_be_open() {
        let range = match_ports(&word(":80"), ":80").unwrap();
        assert_eq!((range.first(), range.last()), (0, 80));
        assert!(match_ports(&word("80:70"), "80:70").is_err());
        assert!(match_ports(&word("http"), "http").unwrap_err().expected.contains("/etc/services"));
    }
}
