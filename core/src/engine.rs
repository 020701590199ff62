//! Which Docker Engine: its version, and the profile of network behaviour that version falls into.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why an engine could not be chosen.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EngineError {
    /// Not a version.
    #[error("'{0}' is not an Engine version: expected MAJOR, MAJOR.MINOR or MAJOR.MINOR.PATCH, as in 28.5")]
    Version(String),
    /// A version whose rules are not planned yet.
    #[error("Engine {0} is not planned yet: 28.2 to 28.5, and 29, are")]
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

/// Versions that make the same network objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Profile {
    /// 28.2 to 28.5: a raw DROP for each endpoint, isolation in two stages.
    V28_2,
    /// 29: DOCKER-INTERNAL instead of the isolation stages, or the nftables backend.
    V29,
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
    /// A version whose rules are not planned yet.
    pub fn of(version: Version) -> Result<Self, EngineError> {
        let profile = match (version.major, version.minor) {
            (29.., _) => Profile::V29,
            (28, None | Some(2..)) => Profile::V28_2,
            (..=28, _) => return Err(EngineError::NotPlanned(version)),
        };
        Ok(Self { version, profile })
    }

    /// Whether the daemon has `firewall-backend`, and so can write its rules for nft.
    #[must_use]
    pub const fn has_nftables(self) -> bool {
        self.version.major >= 29
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
    }

    #[test]
    fn a_version_that_is_not_planned_is_refused_by_name() {
        let error = "28.1.1".parse::<Engine>().unwrap_err().to_string();
        assert!(error.starts_with("Engine 28.1.1 is not planned yet"), "{error}");
        assert!("28.x".parse::<Engine>().is_err());
    }
}
