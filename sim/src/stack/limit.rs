//! How often one address is told of errors (`inet_peer_xrlim_allow`, net/ipv4/inetpeer.c; R3).
//!
//! The limit of all errors of a machine (icmp_msgs_per_sec: a thousand a second, fifty at once) is not here: its kernel
//! draws lots for each, and no probe sends so many.

use seatrial_core::addr::Family;

use crate::clock::{MS, SECOND};
use crate::kernel::Kernel;

/// How many errors may be sent at once (XRLIM_BURST_FACTOR).
const BURST: u64 = 6;

/// The settings of a namespace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The milliseconds between two errors to one address (net.ipv4.icmp_ratelimit).
    pub(crate) v4_ms: u32,
    /// The types of IPv4 that are limited, as bits (net.ipv4.icmp_ratemask).
    pub(crate) v4_types: u32,
    /// As in IPv4, for a route to the address alone (net.ipv6.icmp.ratelimit).
    pub(crate) v6_ms: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self::of(Kernel::default())
    }
}

impl Limits {
    /// What a kernel's namespaces begin with.
    pub(crate) const fn of(kernel: Kernel) -> Self {
        let v6_ms = match kernel {
            Kernel::V6_1 | Kernel::V6_12 => 1000,
            Kernel::V6_18 => 100,
        };
        // Destination unreachable, source quench, time exceeded, parameter problem.
        Self { v4_ms: 1000, v4_types: 1 << 3 | 1 << 4 | 1 << 11 | 1 << 12, v6_ms }
    }

    /// Microseconds between two errors of this type and code, by a route of this prefix length; none where there is no
    /// limit (`icmpv4_xrlim_allow`, `icmpv6_xrlim_allow`). What says that a packet was too long always passes.
    pub(crate) fn each_us(&self, family: Family, (kind, code): (u8, u8), prefix: u8) -> Option<u64> {
        let ms = match family {
            Family::V4 => {
                let limited = self.v4_types.checked_shr(kind.into()).is_some_and(|types| types & 1 == 1);
                (limited && (kind, code) != (3, 4)).then_some(self.v4_ms)
            }
            // A wider prefix has more addresses in it.
            Family::V6 => (kind != 2).then_some(self.v6_ms >> (128u8.saturating_sub(prefix) >> 5)),
        };
        ms.map(|ms| u64::from(ms) * MS)
    }
}

/// What one address has saved up before its first error.
const FIRST_US: u64 = 60 * SECOND;

/// What one address has left.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bucket {
    /// Microseconds that were saved up, and when.
    saved: Option<(u64, u64)>,
}

impl Bucket {
    /// Takes what one error costs, if there is enough left.
    pub(crate) fn take(&mut self, now_us: u64, each_us: u64) -> bool {
        let most = BURST * each_us;
        let saved = most.min(self.saved.map_or(FIRST_US, |(saved, at_us)| saved + (now_us - at_us)));
        let rest = saved.checked_sub(each_us);
        self.saved = Some((rest.unwrap_or(saved), now_us));
        rest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testbed::{ask, pair};

    /// When errors pass that come every so many milliseconds, `count` of them.
    fn passed(each_us: u64, every_ms: u64, count: u64) -> Vec<u64> {
        let mut bucket = Bucket::default();
        (0..count).map(|n| n * every_ms).filter(|at_ms| bucket.take(at_ms * MS, each_us)).collect()
    }

    // Linux 6.18, datagrams to a port without a listener: of 20 at once, 6 errors; of 50 in 5 s, 10: at 0 to 0.5 s, and
    // then one a second; with icmp_ratelimit=0, all 20;
    // with 60000, 1.

    #[test]
    fn r3_six_errors_at_once_and_then_one_a_second() {
        assert_eq!(passed(SECOND, 0, 20).len(), 6);
        assert_eq!(passed(SECOND, 100, 50), [0, 100, 200, 300, 400, 500, 1000, 2000, 3000, 4000]);
        assert_eq!(passed(0, 0, 20).len(), 20);
        assert_eq!(passed(60 * SECOND, 0, 20).len(), 1);
    }

    #[test]
    fn r3_a_type_that_is_not_in_the_mask_is_not_limited_and_a_wide_prefix_of_ipv6_less() {
        let limits = Limits::default();
        let each = |family, numbers, prefix| limits.each_us(family, numbers, prefix);
        assert_eq!(each(Family::V4, (3, 3), 24), Some(SECOND));
        assert_eq!(each(Family::V4, (3, 4), 24), None);
        assert_eq!(each(Family::V4, (5, 0), 24), None);
        assert_eq!(each(Family::V6, (1, 4), 128), Some(SECOND));
        assert_eq!(each(Family::V6, (1, 4), 64), Some(SECOND / 4));
        assert_eq!(Limits::of(Kernel::V6_18).each_us(Family::V6, (1, 4), 128), Some(SECOND / 10));
        assert_eq!(each(Family::V6, (2, 0), 64), None);
    }

    /// What comes of seven questions, one after the other, for a port without a listener.
    fn seven(from: &str, target: &str, sysctl: &str) -> Vec<String> {
        let mut world = pair().sysctl("b", sysctl).world();
        (0..7).map(|_| ask(&mut world, &format!("{from} -> {target}"))).collect()
    }

    #[test]
    fn r3_an_asker_that_was_refused_too_often_hears_nothing() {
        let slow = "net.ipv4.icmp_ratelimit=10000";
        let mut limited = vec!["refused"; 6];
        limited.push("dropped");
        assert_eq!(seven("a", "10.0.0.2:9/udp", slow), limited);
        let (none, other) = ("net.ipv4.icmp_ratelimit=0", "net.ipv4.icmp_ratemask=6160");
        // A reset is no error of ICMP, and nobody on the machine itself is limited.
        for (from, target, sysctl) in [
            ("a", "10.0.0.2:9/tcp", slow),
            ("a", "10.0.0.2:9/udp", none),
            ("a", "10.0.0.2:9/udp", other),
            ("b", "10.0.0.2:9/udp", slow),
        ] {
            assert_eq!(seven(from, target, sysctl), ["refused"; 7], "{from} {target} {sysctl}");
        }
    }
}
