//! Which Linux a world follows, where versions part.

use seatrial_core::engine::Version;
use thiserror::Error;

/// A Linux, by what the simulator knows to differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kernel {
    /// 6.1: a search for a port starts anywhere for destinations as well, and takes no port from what is over.
    V6_1,
    /// 6.12: a search for a destination's port starts at the first one (0f1ae2821fa4), and one for a source's may take the
    /// port of a connection in TIME_WAIT.
    #[default]
    V6_12,
    /// 6.18 and newer: in a tenth of the time one address is told of an error of ICMPv6 again. Somewhere between 6.12 and
    /// 6.18 that came; those between are followed as 6.12.
    V6_18,
}

/// A version that nobody has compared with those that are followed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("Linux {0} is not simulated: 6.1 is, and 6.12 and newer are")]
pub struct KernelError(pub Version);

impl TryFrom<Version> for Kernel {
    type Error = KernelError;

    /// # Errors
    /// A version older than 6.12 that is not 6.1.
    fn try_from(version: Version) -> Result<Self, KernelError> {
        match (version.major, version.minor) {
            (7.., _) | (6, Some(18..)) => Ok(Self::V6_18),
            (6, None | Some(12..)) => Ok(Self::V6_12),
            (6, Some(1)) => Ok(Self::V6_1),
            (..=6, _) => Err(KernelError(version)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_between_those_that_are_known_is_not_guessed() {
        let of = |text: &str| Kernel::try_from(text.parse::<Version>().unwrap());
        assert_eq!(of("6.1"), Ok(Kernel::V6_1));
        assert_eq!(of("6.1.120"), Ok(Kernel::V6_1));
        for text in ["6", "6.12", "6.17"] {
            assert_eq!(of(text), Ok(Kernel::V6_12), "{text}");
        }
        for text in ["6.18.44", "7.3"] {
            assert_eq!(of(text), Ok(Kernel::V6_18), "{text}");
        }
        for text in ["5.15", "6.0", "6.8"] {
            let refused = of(text).unwrap_err().to_string();
            assert_eq!(refused, format!("Linux {text} is not simulated: 6.1 is, and 6.12 and newer are"));
        }
    }
}
