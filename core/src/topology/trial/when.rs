//! Where a trial, a step or an alternative is meant to run: `{ engine: ">=28", kernel: "<6.12", lane: [sim, kernel] }`.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::engine::Version;
use crate::topology::field::{self, Field};

/// A condition; what it does not mention does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct When {
    /// Of the Engine.
    pub engine: Versions,
    /// Of the kernel.
    pub kernel: Versions,
    /// The lanes; every lane where there are none.
    pub lanes: BTreeSet<Lane>,
}

/// Where a trial runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The first host's Engine.
    pub engine: Version,
    /// The kernel, or the one that the simulator follows.
    pub kernel: Version,
    /// The lane.
    pub lane: Lane,
}

impl When {
    /// Whether the condition holds at a place.
    #[must_use]
    pub fn fits(&self, place: &Place) -> bool {
        let lane = self.lanes.is_empty() || self.lanes.contains(&place.lane);
        lane && self.engine.hold(place.engine) && self.kernel.hold(place.kernel)
    }

    /// Whether the condition holds everywhere.
    #[must_use]
    pub fn is_always(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lanes: Vec<_> = self.lanes.iter().map(|l| l.as_str()).collect();
        let parts = [
            (!self.engine.0.is_empty()).then(|| format!("engine {}", self.engine)),
            (!self.kernel.0.is_empty()).then(|| format!("kernel {}", self.kernel)),
            (!lanes.is_empty()).then(|| format!("lane {}", lanes.join(" or "))),
        ];
        f.write_str(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

/// A place where a trial can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// The simulator.
    Sim,
    /// Namespaces of this machine.
    Kernel,
    /// Kernels in virtual machines.
    Vm,
    /// A private Docker Engine.
    Docker,
}

/// Not a lane's name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{0}' is not a lane: sim, kernel, vm or docker")]
pub struct LaneError(String);

impl Lane {
    /// All lanes, the cheapest first.
    pub const ALL: [Self; 4] = [Self::Sim, Self::Kernel, Self::Vm, Self::Docker];

    /// The name that trials and the command line use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sim => "sim",
            Self::Kernel => "kernel",
            Self::Vm => "vm",
            Self::Docker => "docker",
        }
    }
}

impl FromStr for Lane {
    type Err = LaneError;

    fn from_str(s: &str) -> Result<Self, LaneError> {
        Self::ALL.into_iter().find(|lane| lane.as_str() == s).ok_or_else(|| LaneError(s.to_owned()))
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Bounds of a version that must all hold: `>=28.2, <29`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Versions(pub Vec<Bound>);

/// One bound. Only as many parts count as it names: `<=28` holds for 28.5, `28.5` is any patch of 28.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// How to compare.
    pub order: Order,
    /// With what.
    pub version: Version,
}

/// How a version compares with a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `=`, or nothing.
    Equal,
    /// `>=`
    GreaterOrEqual,
    /// `>`
    Greater,
}

/// Not a list of bounds.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("'{0}' is not a version with <, <=, =, >= or > before it, as in >=28.2 or '>=28.2, <29'")]
pub struct VersionsError(String);

impl Versions {
    /// Whether a version is within all bounds; one that leaves its minor or patch out is the newest of its kind.
    #[must_use]
    pub fn hold(&self, version: Version) -> bool {
        self.0.iter().all(|bound| bound.holds(version))
    }
}

impl Bound {
    fn holds(self, version: Version) -> bool {
        let newest = |part: Option<u32>| part.unwrap_or(u32::MAX);
        let part =
            |own: Option<u32>, bound: Option<u32>| bound.map_or(Ordering::Equal, |b| newest(own).cmp(&b));
        let order = version.major.cmp(&self.version.major);
        let order = order.then(part(version.minor, self.version.minor));
        let order = order.then(part(version.patch, self.version.patch));
        match self.order {
            Order::Less => order.is_lt(),
            Order::LessOrEqual => order.is_le(),
            Order::Equal => order.is_eq(),
            Order::GreaterOrEqual => order.is_ge(),
            Order::Greater => order.is_gt(),
        }
    }
}

impl Order {
    /// All of them; of two whose signs begin alike the longer first.
    const ALL: [Self; 5] = [Self::LessOrEqual, Self::GreaterOrEqual, Self::Less, Self::Greater, Self::Equal];

    const fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Equal => "=",
            Self::GreaterOrEqual => ">=",
            Self::Greater => ">",
        }
    }
}

impl FromStr for Versions {
    type Err = VersionsError;

    fn from_str(s: &str) -> Result<Self, VersionsError> {
        let bounds = s.split(',').map(|part| bound(part.trim()));
        bounds.collect::<Option<_>>().map(Self).ok_or_else(|| VersionsError(s.to_owned()))
    }
}

fn bound(text: &str) -> Option<Bound> {
    let signed = Order::ALL.into_iter().find_map(|order| Some((order, text.strip_prefix(order.sign())?)));
    let (order, version) = signed.unwrap_or((Order::Equal, text));
    Some(Bound { order, version: version.trim().parse().ok()? })
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, bound) in self.0.iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            write!(f, "{comma}{}{}", bound.order.sign(), bound.version)?;
        }
        Ok(())
    }
}

/// What a trial can need beyond the usual: features of the kernel, and rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Bridge frames seen by iptables (net/bridge/br_netfilter).
    BrNetfilter,
    /// Dummy devices (drivers/net/dummy.c).
    Dummy,
    /// ipvlan devices (drivers/net/ipvlan).
    Ipvlan,
    /// macvlan devices (drivers/net/macvlan.c).
    Macvlan,
    /// Loss and delay (net/sched/sch_netem.c).
    Netem,
    /// Rights over the machine, beyond a user namespace.
    Root,
    /// SCTP sockets (net/sctp).
    Sctp,
    /// VLAN devices (net/8021q).
    Vlan,
}

impl Need {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::BrNetfilter,
        Self::Dummy,
        Self::Ipvlan,
        Self::Macvlan,
        Self::Netem,
        Self::Root,
        Self::Sctp,
        Self::Vlan,
    ];

    /// The word that trials use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BrNetfilter => "br_netfilter",
            Self::Dummy => "dummy",
            Self::Ipvlan => "ipvlan",
            Self::Macvlan => "macvlan",
            Self::Netem => "netem",
            Self::Root => "root",
            Self::Sctp => "sctp",
            Self::Vlan => "vlan",
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Reads `when`.
pub(super) fn read(field: Field<'_>, out: &mut Diagnostics) -> When {
    super::keys(field.node, &["engine", "kernel", "lane"], "'when'", out);
    let versions = |key, out: &mut Diagnostics| {
        Field::of(field.node, key).and_then(|f| f.parse::<Versions>(out)).unwrap_or_default()
    };
    let lanes =
        Field::of(field.node, "lane").map(|f| words(f, &Lane::ALL.map(|l| (l.as_str(), l)), "a lane", out));
    When {
        engine: versions("engine", out),
        kernel: versions("kernel", out),
        lanes: lanes.unwrap_or_default(),
    }
}

/// Reads `needs`.
pub(super) fn needs(field: Field<'_>, out: &mut Diagnostics) -> BTreeSet<Need> {
    words(field, &Need::ALL.map(|n| (n.as_str(), n)), "something a trial can need", out)
}

/// Words of a list, each of which stands for something.
fn words<T: Copy + Ord>(
    field: Field<'_>,
    known: &[(&str, T)],
    what: &str,
    out: &mut Diagnostics,
) -> BTreeSet<T> {
    let mut found = BTreeSet::new();
    for (word, at) in field.string_or_list(out) {
        match known.iter().find(|(name, _)| *name == word) {
            Some((_, value)) => _ = found.insert(*value),
            None => {
                let names = || known.iter().map(|(name, _)| *name);
                let expected = match field::nearest(word, names()) {
                    Some(near) => format!("'{near}'"),
                    None => format!("one of {}", names().collect::<Vec<_>>().join(", ")),
                };
                out.push(Diagnostic::new(at, format!("'{word}' is not {what}")).expected(expected));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_parts_that_a_bound_names_count() {
        for (bounds, version, holds) in [
            (">=28", "28.0.1", true),
            (">=28", "27.5", false),
            ("<=28", "28.5", true),
            (">28", "28.5", false),
            ("<28.2", "28.1.1", true),
            ("<28.2", "28.2.0", false),
            ("28.5", "28.5.2", true),
            ("=28.5", "28.4", false),
            (">=28.2, <29", "28.5.2", true),
            (">=28.2, <29", "29.0", false),
            (">=28.2", "28", true),
            ("<6.12", "6.1.120", true),
        ] {
            let bounds: Versions = bounds.parse().unwrap();
            assert_eq!(bounds.hold(version.parse().unwrap()), holds, "{bounds} {version}");
        }
    }

    #[test]
    fn bounds_survive_display() {
        for text in [">=28.2, <29", "=28.5", "<=6.12", ">6"] {
            assert_eq!(text.parse::<Versions>().unwrap().to_string(), text);
        }
        for bad in ["", ">=", "28.x", "28,", "!28"] {
            assert!(bad.parse::<Versions>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_a_condition_does_not_mention_does_not_matter() {
        let version = |s: &str| s.parse::<Version>().unwrap();
        let place = Place { engine: version("28.5"), kernel: version("6.12"), lane: Lane::Sim };
        assert!(When::default().fits(&place));
        let docker = When { lanes: BTreeSet::from([Lane::Docker]), ..When::default() };
        assert!(!docker.fits(&place));
    }
}
