//! Which Docker Engine: its version, and the profile of network behaviour that version falls into.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

mod profile;

pub use profile::{DirectAccess, Filter, ForwardDrop, GatewayChoice, Hardware, Profile};

/// Why an engine could not be chosen.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EngineError {
    /// Not a version.
    #[error("'{0}' is not an Engine version: expected MAJOR, MAJOR.MINOR or MAJOR.MINOR.PATCH, as in 28.5")]
    Version(String),
    /// A version older than all that are planned, or one that never was.
    #[error("Engine {0} is not planned: 20.10, 23 to 29 are")]
    NotPlanned(Version),
}

/// A version of Docker Engine. A missing minor or patch is the newest there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// The year-like first number: 28 of 28.5.2.
    pub major: u32,
    /// The second number.
    pub minor: Option<u32>,
    /// The third number.
    pub patch: Option<u32>,
}

impl FromStr for Version {
    type Err = EngineError;

    fn from_str(s: &str) -> Result<Self, EngineError> {
        let bad = || EngineError::Version(s.to_owned());
        let mut parts = s.split('.').map(|p| p.parse::<u32>().map_err(|_| bad()));
        let major = parts.next().ok_or_else(bad)??;
        let (minor, patch) = (parts.next().transpose()?, parts.next().transpose()?);
        if parts.next().is_some() { Err(bad()) } else { Ok(Self { major, minor, patch }) }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.major)?;
        self.minor.iter().try_for_each(|m| write!(f, ".{m}"))?;
        self.patch.iter().try_for_each(|p| write!(f, ".{p}"))
    }
}

/// What a plan of an engine was held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// What this release was seen to make, byte for byte.
    Captured(&'static str),
    /// Upstream's sources and documents: no such engine was at hand.
    Document,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Captured(release) => write!(f, "as captured from {release}"),
            Self::Document => f.write_str("by document"),
        }
    }
}

/// How the Engine writes `/etc/resolv.conf` for containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResolvConfText {
    /// The host's lines, edited.
    Plain,
    /// Its own lines, and comments on where they come from; servers on the host's loopback are marked.
    Commented,
    /// The same; all of the host's servers are marked, and are asked from the host. Nobody stands in for them.
    HostMarked,
}

/// A Docker Engine: a version and what follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    /// The version that was asked for.
    pub version: Version,
    /// The behaviour it has.
    pub profile: Profile,
}

impl Engine {
    /// The newest engine that is planned.
    pub const NEWEST: Self =
        Self { version: Version { major: 29, minor: None, patch: None }, profile: Profile::V29 };

    /// The engine of a version; one newer than all that are known behaves as the newest.
    ///
    /// # Errors
    /// A version whose rules are not planned.
    pub const fn of(version: Version) -> Result<Self, EngineError> {
        let profile = match (version.major, version.minor, version.patch) {
            (29.., _, _) => Profile::V29,
            (28, None | Some(2..), _) => Profile::V28_2,
            (28, Some(0), Some(0)) => Profile::V28_0_0,
            (28, Some(..=1), _) => Profile::V28_0,
            (27, _, _) => Profile::V27,
            (23..=26, _, _) => Profile::V23,
            (20, None | Some(10), _) => Profile::V20_10,
            (..=22, _, _) => return Err(EngineError::NotPlanned(version)),
        };
        Ok(Self { version, profile })
    }

    /// Whether the daemon has `firewall-backend`, and so can write its rules for nft.
    #[must_use]
    pub const fn has_nftables(self) -> bool {
        self.version.major >= 29
    }

    /// What plans of this engine were held against.
    #[must_use]
    pub const fn evidence(self) -> Evidence {
        match (self.profile, self.version.major) {
            (Profile::V20_10, _) => Evidence::Captured("20.10.24"),
            (Profile::V23, 26) => Evidence::Captured("26.1.5"),
            (Profile::V28_2, _) => Evidence::Captured("28.5.2"),
            (Profile::V23 | Profile::V27 | Profile::V28_0_0 | Profile::V28_0 | Profile::V29, _) => {
                Evidence::Document
            }
        }
    }

    /// How it writes `/etc/resolv.conf` (26.0: moby#46989; 28.0).
    #[must_use]
    pub const fn resolv_conf_text(self) -> ResolvConfText {
        match self.version.major {
            ..=25 => ResolvConfText::Plain,
            26 | 27 => ResolvConfText::Commented,
            28.. => ResolvConfText::HostMarked,
        }
    }

    /// Whether an API of this version's is there: what came with it is read past, or refused by the client, before.
    #[must_use]
    pub fn is_at_least(self, major: u32, minor: u32) -> bool {
        // A missing minor is the newest.
        (self.version.major, self.version.minor.unwrap_or(u32::MAX)) >= (major, minor)
    }

    /// Whether the daemon loads br_netfilter when it starts and writes rules, which shows all bridged packets to them
    /// (until 27.3: moby#48511).
    #[must_use]
    pub fn loads_br_netfilter(self) -> bool {
        !self.is_at_least(27, 3)
    }

    /// Whether a bridge's packets are shown to the rules where no docker-proxy serves its ports (27.4: moby#48685).
    #[must_use]
    pub fn filters_bridges_without_proxy(self) -> bool {
        self.is_at_least(27, 4)
    }

    /// Whether `host-gateway-ip` in `daemon.json` is written to `/etc/hosts` as an IPv6 address that an IPv4 address is
    /// mapped to, `::ffff:203.0.113.10`: so did 28.5.2, which reads it into a list of addresses of both families
    /// (`host-gateway-ips`, 28.0).
    #[must_use]
    pub fn maps_host_gateway_ip(self) -> bool {
        self.is_at_least(28, 0)
    }

    /// Whether a container's `lo` always has `::1` (26.0: moby#47062): before, only as long as an endpoint has IPv6.
    #[must_use]
    pub const fn keeps_ipv6_on_loopback(self) -> bool {
        self.version.major >= 26
    }

    /// Whether flows to published UDP ports are forgotten (23.0: moby#44742): before, one that docker-proxy has taken stays
    /// with it.
    #[must_use]
    pub fn flushes_udp_ports(self) -> bool {
        self.is_at_least(23, 0)
    }

    /// Whether UDP flows are forgotten by the container's port instead of the host's: a bug of 29.5 to 29.7
    /// (moby#53384), so that flows survive where the two differ.
    #[must_use]
    pub fn flushes_udp_by_container_port(self) -> bool {
        self.version.major == 29 && self.version.minor.is_none_or(|minor| minor >= 5)
    }

    /// Whether the version is newer than every release this program knows (29).
    #[must_use]
    pub const fn is_unknown(self) -> bool {
        self.version.major > 29
    }
}

impl Default for Engine {
    fn default() -> Self {
        Self::NEWEST
    }
}

impl FromStr for Engine {
    type Err = EngineError;

    fn from_str(s: &str) -> Result<Self, EngineError> {
        Self::of(s.parse()?)
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.version.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_picks_its_profile() {
        assert_eq!("28.5.2".parse::<Engine>().unwrap().profile, Profile::V28_2);
        assert_eq!("28".parse::<Engine>().unwrap().profile, Profile::V28_2);
        assert_eq!("29".parse::<Engine>().unwrap().profile, Profile::V29);
        assert!("31.1".parse::<Engine>().unwrap().is_unknown());
        let profile = |version: &str| version.parse::<Engine>().unwrap().profile;
        assert_eq!([profile("20"), profile("20.10.24")], [Profile::V20_10; 2]);
        assert_eq!([profile("23"), profile("24.0"), profile("26.1.5")], [Profile::V23; 3]);
        assert_eq!([profile("27"), profile("27.0.1")], [Profile::V27; 2]);
        assert_eq!(profile("28.0.0"), Profile::V28_0_0);
        assert_eq!([profile("28.0"), profile("28.0.4"), profile("28.1")], [Profile::V28_0; 3]);
    }

    #[test]
    fn only_what_was_captured_is_called_so() {
        let evidence = |version: &str| version.parse::<Engine>().unwrap().evidence().to_string();
        assert_eq!(evidence("26.1"), "as captured from 26.1.5");
        assert_eq!(["24", "27", "28.0", "29"].map(evidence), ["by document"; 4]);
    }

    #[test]
    fn a_version_that_is_not_planned_is_refused_by_name() {
        let error = |version: &str| version.parse::<Engine>().unwrap_err().to_string();
        assert!(error("19.03").starts_with("Engine 19.3 is not planned"), "{}", error("19.03"));
        assert!("21.0".parse::<Engine>().is_err());
        assert!("28.x".parse::<Engine>().is_err());
    }
}
