//! Which address of a range a flow gets: a hash of where it comes from and where it goes (`find_best_ips_proto`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Manip, Range};
use crate::netfilter::conntrack::tuple::Tuple;

/// An address as the kernel hashes it: words in network order, read by a little-endian machine.
#[derive(Clone, Copy)]
struct Words([u32; 4]);

impl Words {
    fn of(addr: IpAddr) -> Self {
        let mut bytes = [0; 16];
        match addr {
            IpAddr::V4(v4) => bytes.iter_mut().zip(v4.octets()).for_each(|(to, from)| *to = from),
            IpAddr::V6(v6) => bytes = v6.octets(),
        }
        let mut words = [0; 4];
        for (word, four) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u32::from_le_bytes(*four);
        }
        Self(words)
    }

    /// The address whose words these are, in the family of `like`.
    fn addr(self, like: IpAddr) -> IpAddr {
        let mut bytes = [0; 16];
        for (four, word) in bytes.as_chunks_mut().0.iter_mut().zip(self.0) {
            *four = word.to_le_bytes();
        }
        match like {
            IpAddr::V4(_) => Ipv4Addr::from(self.0[0].to_le_bytes()).into(),
            IpAddr::V6(_) => Ipv6Addr::from(bytes).into(),
        }
    }
}

/// Puts an address of the range into the tuple.
pub(super) fn choose(tuple: &mut Tuple, range: &Range, manip: Manip) {
    let Some((first, last)) = range.addresses else { return };
    let chosen = if first == last { first } else { spread(tuple, (first, last), range.persistent, manip) };
    match manip {
        Manip::Source => tuple.src = chosen,
        Manip::Destination => tuple.dst = chosen,
    }
}

fn spread(tuple: &Tuple, (first, last): (IpAddr, IpAddr), persistent: bool, manip: Manip) -> IpAddr {
    let used = if tuple.src.is_ipv4() { 1 } else { 4 };
    let (low, high) = (Words::of(first), Words::of(last));
    let mut dst = Words::of(tuple.dst);
    let last_word = if used == 1 { dst.0[0] } else { dst.0[3] };
    let mut hash = jhash2(Words::of(tuple.src).0, if persistent { 0 } else { last_word });
    let mut full_range = false;
    let mut chosen = Words([0; 4]);
    let bounds = low.0.into_iter().zip(high.0).take(used);
    for (((low, high), word), to) in bounds.zip(&mut chosen.0).zip(&mut dst.0) {
        let (from, distance) = if full_range {
            (0, u32::MAX)
        } else {
            (low.swap_bytes(), high.swap_bytes().wrapping_sub(low.swap_bytes()).wrapping_add(1))
        };
        *word = from.wrapping_add(scale(hash, distance)).swap_bytes();
        full_range |= *word != high;
        if manip == Manip::Destination {
            *to = *word;
        }
        if !persistent {
            hash ^= *to;
        }
    }
    chosen.addr(tuple.src)
}

/// `reciprocal_scale`: a number below `below`, as far along as `hash` is.
const fn scale(hash: u32, below: u32) -> u32 {
    ((hash as u64 * below as u64) >> 32) as u32
}

/// Jenkins's lookup3 on four words (include/linux/jhash.h).
const fn jhash2(k: [u32; 4], initial: u32) -> u32 {
    let start = 0xdead_beef_u32.wrapping_add(16).wrapping_add(initial);
    let (a, b, c) = mix(start.wrapping_add(k[0]), start.wrapping_add(k[1]), start.wrapping_add(k[2]));
    last(a.wrapping_add(k[3]), b, c)
}

const fn mix(mut a: u32, mut b: u32, mut c: u32) -> (u32, u32, u32) {
    a = a.wrapping_sub(c) ^ c.rotate_left(4);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(6);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(8);
    b = b.wrapping_add(a);
    a = a.wrapping_sub(c) ^ c.rotate_left(16);
    c = c.wrapping_add(b);
    b = b.wrapping_sub(a) ^ a.rotate_left(19);
    a = a.wrapping_add(c);
    c = c.wrapping_sub(b) ^ b.rotate_left(4);
    b = b.wrapping_add(a);
    (a, b, c)
}

const fn last(mut a: u32, mut b: u32, mut c: u32) -> u32 {
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    (c ^ b).wrapping_sub(b.rotate_left(24))
}
