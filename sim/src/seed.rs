//! The simulator's only source of chance: what the kernel draws at random is drawn from here.

/// A generator of numbers that are the same for the same seed, on every machine (SplitMix64: Steele, Lea and Flood, 2014).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed(u64);

impl Seed {
    /// A generator that starts at `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// The next 16 bits (`get_random_u16`).
    pub const fn next_u16(&mut self) -> u16 {
        (self.next_u64() >> 48) as u16
    }

    /// The next 32 bits (`get_random_u32`).
    pub const fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    /// A number below `bound`, 0 where that is 0 (`get_random_u32_below`); the bias is below one in 2^32.
    pub const fn below(&mut self, bound: u32) -> u32 {
        ((self.next_u32() as u64 * bound as u64) >> 32) as u32
    }

    /// Whether something that happens in `percent` of all cases happens now.
    pub const fn percent(&mut self, percent: u8) -> bool {
        self.below(100) < percent as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_splitmix64() {
        // The first numbers for seed 1234567, from the algorithm's reference implementation (prng.di.unimi.it/splitmix64.c).
        let mut seed = Seed::new(1_234_567);
        assert_eq!(seed.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(seed.next_u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn a_bound_is_kept_and_every_value_below_it_occurs() {
        let mut seed = Seed::new(7);
        let seen: std::collections::BTreeSet<u32> = (0..200).map(|_| seed.below(6)).collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(seed.below(0), 0);
    }

    #[test]
    fn no_percent_never_happens_and_all_percent_always() {
        let mut seed = Seed::new(7);
        assert!((0..100).all(|_| !seed.percent(0) && seed.percent(100)));
    }
}
