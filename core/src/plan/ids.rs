//! Identities that Docker picks at random, derived from names instead: a change in one place changes one place.

use sha2::{Digest, Sha256};

use crate::addr::{IfName, MacAddr};

/// What an identity is derived from: a kind and the names that tell it from others of its kind.
#[derive(Debug, Clone)]
pub(super) struct Seed(Sha256);

impl Seed {
    /// The seed of `names`, in order; a zero byte cannot be part of any of them.
    pub(super) fn of(names: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for name in names {
            hash.update(name.as_bytes());
            hash.update([0]);
        }
        Self(hash)
    }

    fn bytes(&self) -> [u8; 32] {
        self.0.clone().finalize().into()
    }

    /// 64 hexadecimal digits, as the ids of containers and networks have.
    pub(super) fn id(&self) -> String {
        self.bytes().iter().map(|b| format!("{b:02x}")).collect()
    }

    /// `prefix` and `digits` hexadecimal digits; `lo` where that is no interface name.
    pub(super) fn if_name(&self, prefix: &str, digits: usize) -> IfName {
        let id: String = self.id().chars().take(digits).collect();
        format!("{prefix}{id}").parse().unwrap_or_else(|_| IfName::lo())
    }

    /// A unicast, locally administered address, as Docker's own generator makes them (28.0).
    pub(super) fn mac(&self) -> MacAddr {
        let [a, b, c, d, e, f, ..] = self.bytes();
        MacAddr([(a & 0xfe) | 0x02, b, c, d, e, f])
    }

    /// A port from `first` on, `count` of them to choose from; `count` is not 0.
    pub(super) fn port(&self, first: u16, count: u16) -> u16 {
        let [a, b, ..] = self.bytes();
        first.saturating_add(u16::from_be_bytes([a, b]) % count.max(1))
    }
}

/// The first 12 digits of an id: how people and devices write it.
pub(super) fn short(id: &str) -> String {
    id.chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_tells_where_one_name_ends() {
        assert_ne!(Seed::of(&["ab", "c"]).id(), Seed::of(&["a", "bc"]).id());
    }

    #[test]
    fn a_mac_is_unicast_and_locally_administered() {
        for n in 0..100 {
            let MacAddr([first, ..]) = Seed::of(&["mac", &n.to_string()]).mac();
            assert_eq!(first & 3, 2);
        }
    }

    #[test]
    fn a_name_has_the_digits_it_was_asked_for() {
        assert_eq!(Seed::of(&["x"]).if_name("veth", 7).as_str().len(), 11);
        assert_eq!(Seed::of(&["x"]).if_name("br-", 12).as_str().len(), 15);
    }
}
