//! A fact's text: `has own ipc`.

use std::fmt;

use super::TextError;
use super::line::{Line, Word};
use crate::addr::IfName;
use crate::probe::{Fact, IdKind, NsKind, Pid, Things};
use crate::topology::NodeName;

pub(super) const FACT: &str = "a fact: hostname is NAME, sees [no] THINGS of NODE, has own NS, shares NS with NODE, \
                               routes ADDRESS dev NAME, writes in PATH, resolves NAME to ADDRESS …";
const KIND: &str = "a namespace: network, mount, ipc, pid, uts, user or cgroup";
const SEES: &str = "processes, sockets, ipc objects, files, pid, uid or gid";
const SEES_NO: &str = "processes, sockets, ipc objects or files";
const HAS: &str =
    "own NS, devices NAME, a mount at PATH, no mount at PATH, no route to ADDRESS, or SIZE at PATH";
const PID: &str = "a number, the same, or another";
const PATH: &str = "an absolute path, as in /data";
const DEVICE: &str = "a device: 1 to 15 bytes, as in eth0";
const SIZE: &str = "a size: bytes, or a number with k, m, g or t, as in 64m";
/// What a letter behind a number means, in powers of two, the largest first.
const UNITS: [(char, u32); 4] = [('t', 40), ('g', 30), ('m', 20), ('k', 10)];

/// Whether a line's second word starts a fact.
pub(super) fn starts(word: &str) -> bool {
    matches!(
        word,
        "hostname" | "domainname" | "sees" | "has" | "shares" | "routes" | "writes" | "cannot" | "resolves"
    )
}

pub(super) fn read(line: &mut Line<'_>) -> Result<Fact, TextError> {
    let word = line.word(FACT)?;
    match word.text {
        "hostname" => {
            line.keyword("is")?;
            Ok(Fact::Hostname(line.word("a host name")?.text.to_owned()))
        }
        "domainname" => {
            line.keyword("is")?;
            Ok(Fact::Domainname(line.word("a domain name, or (none)")?.text.to_owned()))
        }
        "sees" => sees(line),
        "has" => has(line),
        "shares" => {
            let kind = kind(line)?;
            line.keyword("with")?;
            Ok(Fact::Shares(kind, line.word("a node")?.node()?))
        }
        "routes" => routes(line),
        "writes" => Ok(Fact::Writes(place(line, "in")?)),
        "cannot" => {
            line.keyword("write")?;
            Ok(Fact::CannotWrite(place(line, "in")?))
        }
        "resolves" => resolves(line),
        _ => Err(word.error(FACT)),
    }
}

fn sees(line: &mut Line<'_>) -> Result<Fact, TextError> {
    let no = line.take("no");
    let expected = if no { SEES_NO } else { SEES };
    let word = line.word(expected)?;
    let id = IdKind::ALL.into_iter().find(|kind| kind.as_str() == word.text);
    let seen = match (word.text, id) {
        ("processes", _) => Some(Things::Processes),
        ("sockets", _) => Some(Things::Sockets),
        ("ipc", _) => {
            line.keyword("objects")?;
            Some(Things::IpcObjects)
        }
        // The directory comes after the node.
        ("files", _) => None,
        ("pid", _) if !no => return pid(line),
        (_, Some(kind)) if !no => return id_of(line, kind),
        _ => return Err(word.error(expected)),
    };
    let node = of_node(line)?;
    let things = match seen {
        Some(things) => things,
        None => Things::Files(place(line, "in")?),
    };
    Ok(if no { Fact::SeesNo(things, node) } else { Fact::Sees(things, node) })
}

fn of_node(line: &mut Line<'_>) -> Result<NodeName, TextError> {
    line.keyword("of")?;
    line.word("a node")?.node()
}

/// `of NODE as …`
fn pid(line: &mut Line<'_>) -> Result<Fact, TextError> {
    let node = of_node(line)?;
    line.keyword("as")?;
    let word = line.word(PID)?;
    let pid = match word.text {
        "another" => Pid::Another,
        "the" => {
            line.keyword("same")?;
            Pid::TheSame
        }
        _ => Pid::Is(word.number(1..=u32::MAX, PID)?),
    };
    Ok(Fact::SeesPid(node, pid))
}

/// `N of NODE as N`
fn id_of(line: &mut Line<'_>, kind: IdKind) -> Result<Fact, TextError> {
    let id = |line: &mut Line<'_>| {
        let expected = format!("a {kind}, 0 to 4294967294");
        line.word(&expected)?.number(0..=u32::MAX - 1, &expected)
    };
    let inside = id(line)?;
    let node = of_node(line)?;
    line.keyword("as")?;
    Ok(Fact::SeesId(kind, inside, node, id(line)?))
}

fn has(line: &mut Line<'_>) -> Result<Fact, TextError> {
    let word = line.word(HAS)?;
    match word.text {
        "own" => Ok(Fact::HasOwn(kind(line)?)),
        "devices" => {
            line.peek().ok_or_else(|| line.missing(DEVICE))?;
            let names = line.take_rest().pieces(',').map(|word| device(word.trim()));
            Ok(Fact::HasDevices(names.collect::<Result<_, _>>()?))
        }
        "sysctl" => sysctl(line),
        "a" => {
            line.keyword("mount")?;
            Ok(Fact::HasMount(place(line, "at")?))
        }
        "no" if line.take("route") => {
            line.keyword("to")?;
            Ok(Fact::HasNoRoute(line.word("an address")?.parse("an address")?))
        }
        "no" => {
            let word = line.word("mount or route")?;
            match word.text {
                "mount" => Ok(Fact::HasNoMount(place(line, "at")?)),
                _ => Err(word.error("mount or route")),
            }
        }
        digits if digits.starts_with(|c: char| c.is_ascii_digit()) => {
            Ok(Fact::HasSize(size(word)?, place(line, "at")?))
        }
        _ => Err(word.error(HAS)),
    }
}

/// `KEY = VALUE`
fn sysctl(line: &mut Line<'_>) -> Result<Fact, TextError> {
    const KEY: &str = "a setting such as net.ipv4.ip_forward";
    const VALUE: &str = "its value";
    let key = line.word(KEY)?;
    let good = |part: &str| !part.is_empty() && !part.contains('/');
    if !key.text.contains('.') || !key.text.split('.').all(good) {
        return Err(key.error(KEY));
    }
    line.keyword("=")?;
    line.peek().ok_or_else(|| line.missing(VALUE))?;
    let value: Vec<&str> = line.take_rest().text.split_whitespace().collect();
    Ok(Fact::HasSysctl(key.text.to_owned(), value.join(" ")))
}

fn routes(line: &mut Line<'_>) -> Result<Fact, TextError> {
    let to = line.word("an address")?.parse("an address")?;
    let via = if line.take("via") { Some(line.word("an address")?.parse("an address")?) } else { None };
    line.keyword("dev")?;
    Ok(Fact::Routes(to, via, device(line.word(DEVICE)?)?))
}

fn device(word: Word<'_>) -> Result<IfName, TextError> {
    word.parse(DEVICE)
}

/// A preposition and a path.
fn place(line: &mut Line<'_>, preposition: &str) -> Result<String, TextError> {
    line.keyword(preposition)?;
    let word = line.word(PATH)?;
    let plain = |part: &str| !matches!(part, "" | "." | "..");
    let rest = word.text.strip_prefix('/');
    let good = rest.is_some_and(|rest| rest.is_empty() || rest.split('/').all(plain));
    if good { Ok(word.text.to_owned()) } else { Err(word.error(PATH)) }
}

fn size(word: Word<'_>) -> Result<u64, TextError> {
    let unit = |(letter, shift)| Some((word.text.strip_suffix(letter)?, shift));
    let (digits, shift) = UNITS.into_iter().find_map(unit).unwrap_or((word.text, 0));
    let number: u64 =
        Word { text: digits, ..word }.number(0..=u64::MAX, SIZE).map_err(|_| word.error(SIZE))?;
    number.checked_mul(1 << shift).ok_or_else(|| word.error(SIZE))
}

fn kind(line: &mut Line<'_>) -> Result<NsKind, TextError> {
    let word = line.word(KIND)?;
    NsKind::ALL.into_iter().find(|k| k.as_str() == word.text).ok_or_else(|| word.error(KIND))
}

fn resolves(line: &mut Line<'_>) -> Result<Fact, TextError> {
    let name = line.word("a name")?.text.to_owned();
    line.keyword("to")?;
    let rest = line.rest();
    line.word("addresses, with commas between them, or nothing")?;
    line.take_rest();
    let addresses = match rest.text {
        "nothing" => Vec::new(),
        _ => rest.pieces(',').map(|word| word.trim().parse("an address")).collect::<Result<_, _>>()?,
    };
    Ok(Fact::Resolves(name, addresses))
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hostname(name) => write!(f, "hostname is {name}"),
            Self::Domainname(name) => write!(f, "domainname is {name}"),
            Self::Sees(things, node) => write!(f, "sees {}", things.of(node)),
            Self::SeesNo(things, node) => write!(f, "sees no {}", things.of(node)),
            Self::SeesPid(node, pid) => write!(f, "sees pid of {node} as {pid}"),
            Self::SeesId(kind, id, node, seen) => write!(f, "sees {kind} {id} of {node} as {seen}"),
            Self::HasOwn(kind) => write!(f, "has own {kind}"),
            Self::Shares(kind, node) => write!(f, "shares {kind} with {node}"),
            Self::HasDevices(names) => {
                f.write_str("has devices ")?;
                commas(f, names)
            }
            Self::HasMount(path) => write!(f, "has a mount at {path}"),
            Self::HasNoMount(path) => write!(f, "has no mount at {path}"),
            Self::HasSize(bytes, path) => write!(f, "has {} at {path}", Size(*bytes)),
            Self::HasSysctl(key, value) => write!(f, "has sysctl {key} = {value}"),
            Self::HasNoRoute(to) => write!(f, "has no route to {to}"),
            Self::Routes(to, Some(via), dev) => write!(f, "routes {to} via {via} dev {dev}"),
            Self::Routes(to, None, dev) => write!(f, "routes {to} dev {dev}"),
            Self::Writes(path) => write!(f, "writes in {path}"),
            Self::CannotWrite(path) => write!(f, "cannot write in {path}"),
            Self::Resolves(name, addresses) => {
                write!(f, "resolves {name} to ")?;
                if addresses.is_empty() { f.write_str("nothing") } else { commas(f, addresses) }
            }
        }
    }
}

/// The items with commas between them.
fn commas<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
    items.iter().enumerate().try_for_each(|(i, item)| match i {
        0 => item.fmt(f),
        _ => write!(f, ", {item}"),
    })
}

impl Things {
    /// In words, as somebody's: `files of db in /data`.
    #[must_use]
    pub fn of(&self, owner: &impl fmt::Display) -> String {
        match self {
            Self::Processes => format!("processes of {owner}"),
            Self::Sockets => format!("sockets of {owner}"),
            Self::IpcObjects => format!("ipc objects of {owner}"),
            Self::Files(path) => format!("files of {owner} in {path}"),
        }
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(number) => write!(f, "{number}"),
            Self::TheSame => f.write_str("the same"),
            Self::Another => f.write_str("another"),
        }
    }
}

/// Bytes in the largest unit that leaves no rest.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |(_, shift): &(char, u32)| self.0 > 0 && self.0.is_multiple_of(1 << shift);
        match UNITS.into_iter().find(whole) {
            Some((letter, shift)) => write!(f, "{}{letter}", self.0 >> shift),
            None => write!(f, "{}", self.0),
        }
    }
}
