//! A packet that came in: for a socket here, to be forwarded, or not believed (net/ipv4/ip_input.c).

use seatrial_core::addr::Family;
use seatrial_core::rules::{AddrType, Hook};

use super::icmp::Reason;
use super::route::Input;
use crate::arena::{DevId, NsId};
use crate::packet::{Checksum, L4, Packet};
use crate::skb::Skb;
use crate::trace::DropReason;
use crate::world::World;

impl World {
    /// A packet came in by a device (`ip_rcv`, `ipv6_rcv`).
    pub(crate) fn ip_receive(&mut self, dev: DevId, skb: &mut Skb, link_broadcast: bool) {
        let ns = self.devices[dev].ns;
        if let Some((reason, why)) = self.disbelieved(dev, &skb.packet) {
            return self.note_drop(ns, Some(dev), skb, reason, |_| why);
        }
        // A bridged packet has passed PREROUTING on the bridge (`ip_sabotage_in`).
        if skb.meta.bridge.is_none() && !self.hook(ns, Hook::Prerouting, skb, Some(dev), None) {
            return;
        }
        if skb.meta.routed {
            return self.local_deliver(ns, dev, skb);
        }
        match self.route_input(ns, dev, skb) {
            Input::Local => self.local_deliver(ns, dev, skb),
            // Not for a machine that only heard it (`ip_forward`: pkt_type).
            Input::Forward(_) if link_broadcast => {}
            Input::Forward(path) => self.forward(ns, dev, skb, path),
            Input::Drop { reason, why } => self.note_drop(ns, Some(dev), skb, reason, |_| why),
            Input::Unreachable { why } => {
                self.note_drop(ns, Some(dev), skb, DropReason::IpInNoRoutes, |_| why);
                self.icmp_error(ns, skb, Reason::NoRoute);
            }
        }
    }

    /// Why a packet is dropped before any rule sees it (`ip_rcv_core`, `ip6_rcv_core`).
    fn disbelieved(&self, dev: DevId, packet: &Packet) -> Option<(DropReason, String)> {
        let device = &self.devices[dev];
        let six = packet.family() == Family::V6;
        if six && self.stacks[device.ns].conf(dev).disable_ipv6 {
            return Some((DropReason::Ipv6Disabled, format!("IPv6 is off on {}", device.name)));
        }
        if packet.checksum == Checksum::BadIp {
            return Some((DropReason::IpCsum, "its IP header is not what was sent".to_owned()));
        }
        // IPv4 asks as it routes, after PREROUTING, and lets it pass where route_localnet is on (F5).
        if six && !device.is_loopback() && (packet.src.is_loopback() || packet.dst.is_loopback()) {
            return Some((
                DropReason::IpInHdr,
                format!("::1 does not come by {} (RFC 4291, 2.5.3)", device.name),
            ));
        }
        if six && packet.src.is_multicast() {
            return Some((DropReason::IpInHdr, format!("{} cannot be a sender", packet.src)));
        }
        None
    }

    /// To a socket of this namespace (`ip_local_deliver`).
    fn local_deliver(&mut self, ns: NsId, dev: DevId, skb: &mut Skb) {
        skb.meta.routed = false;
        if !self.hook(ns, Hook::Input, skb, Some(dev), None) {
            return;
        }
        if let Some(reason) = wrong_sum(&skb.packet) {
            let why = |_: &Self| "its checksum is not that of what arrived".to_owned();
            return self.note_drop(ns, Some(dev), skb, reason, why);
        }
        let everyone = self.stacks[ns].addr_type(skb.packet.dst) != AddrType::Local;
        match skb.packet.l4 {
            L4::Tcp(tcp) if !everyone => self.tcp_input(ns, dev, skb, tcp),
            L4::Tcp(_) => {}
            L4::Udp(ports) | L4::Sctp(ports) => self.datagram_input(ns, dev, skb, ports, everyone),
            L4::Icmp(icmp) => self.icmp_input(ns, dev, skb, icmp, everyone),
            L4::Other(number) => {
                self.note_drop(ns, Some(dev), skb, DropReason::IpNoProto, |_| {
                    format!("no one speaks protocol {number}")
                });
                if !everyone {
                    self.icmp_error(ns, skb, Reason::NoProtocol);
                }
            }
        }
    }
}

/// The reason by which a transport drops a packet whose checksum is wrong (include/net/dropreason-core.h); SCTP has none
/// of its own, and what nobody speaks nobody checks.
const fn wrong_sum(packet: &Packet) -> Option<DropReason> {
    match (packet.checksum, packet.l4) {
        (Checksum::Good, _) | (_, L4::Other(_)) => None,
        (Checksum::BadIp | Checksum::BadL4, L4::Tcp(_)) => Some(DropReason::TcpCsum),
        (Checksum::BadIp | Checksum::BadL4, L4::Udp(_)) => Some(DropReason::UdpCsum),
        (Checksum::BadIp | Checksum::BadL4, L4::Icmp(_)) => Some(DropReason::IcmpCsum),
        (Checksum::BadIp | Checksum::BadL4, L4::Sctp(_)) => Some(DropReason::SkbCsum),
    }
}

#[cfg(test)]
mod tests {
    use crate::testbed::{Bed, dropped, pair, probe, routed};

    /// What drops the only question that a asks of b, all of whose packets are marred on b's way in.
    fn marred(bed: &Bed, question: &str) -> Vec<(&'static str, String)> {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..40 {
            let mut world = bed.seeded(seed);
            // ARP has no checksum: it is lost.
            probe(&mut world, "a -> 10.0.0.2/icmp");
            world.fault(&"b".into(), &crate::testbed::name("eth0"), crate::testbed::corrupt(100)).unwrap();
            let answer = probe(&mut world, question);
            let (reason, _, ns) = dropped(&answer);
            seen.insert((reason, ns));
        }
        seen.into_iter().collect()
    }

    #[test]
    fn a_marred_packet_is_dropped_for_the_checksum_that_is_wrong() {
        let bed = pair().listen("b", "80/tcp").listen("b", "80/udp");
        let at_b = |reason| (reason, "b".to_owned());
        for (question, reason) in [
            ("a -> 10.0.0.2:80/tcp", "TCP_CSUM"),
            ("a -> 10.0.0.2:80/udp", "UDP_CSUM"),
            // Nobody listens, and nobody is told.
            ("a -> 10.0.0.2:81/tcp", "TCP_CSUM"),
            ("a -> 10.0.0.2:81/udp", "UDP_CSUM"),
            ("a -> 10.0.0.2/icmp", "ICMP_CSUM"),
        ] {
            let mut expected = vec![at_b("IP_CSUM"), at_b(reason)];
            expected.sort();
            assert_eq!(marred(&bed, question), expected, "{question}");
        }
    }

    #[test]
    fn c5_a_packet_with_a_wrong_checksum_is_invalid_unless_nobody_looks() {
        let rules = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n";
        let bed = pair().listen("b", "80/tcp").rules("b", rules);
        let reasons = |bed: &Bed| -> Vec<&'static str> {
            marred(bed, "a -> 10.0.0.2:80/tcp").into_iter().map(|(reason, _)| reason).collect()
        };
        assert_eq!(reasons(&bed), ["IP_CSUM", "NETFILTER_DROP"]);
        assert_eq!(
            reasons(&bed.sysctl("b", "net.netfilter.nf_conntrack_checksum=0")),
            ["IP_CSUM", "TCP_CSUM"]
        );
    }

    #[test]
    fn a_router_passes_on_what_is_wrong_behind_its_ip_header() {
        let bed = routed().listen("b", "80/udp");
        let drop = |seed| {
            let mut world = bed.seeded(seed);
            probe(&mut world, "a -> 10.0.1.2/icmp");
            world.fault(&"r".into(), &crate::testbed::name("eth0"), crate::testbed::corrupt(100)).unwrap();
            let (reason, _, ns) = dropped(&probe(&mut world, "a -> 10.0.1.2:80/udp"));
            (reason, ns)
        };
        let drops: Vec<(&str, String)> = (0..20).map(drop).collect();
        assert!(drops.contains(&("IP_CSUM", "r".to_owned())), "{drops:?}");
        assert!(drops.contains(&("UDP_CSUM", "b".to_owned())), "{drops:?}");
    }

    #[test]
    fn c4_a_full_table_drops_what_would_be_a_new_flow() {
        let rules = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n";
        let bed = pair().listen("b", "80/tcp").rules("b", rules);
        let mut world = bed.sysctl("b", "net.netfilter.nf_conntrack_max=2").world();
        let mut ask = || probe(&mut world, "a -> 10.0.0.2:80/tcp");
        assert_eq!([ask().outcome, ask().outcome].map(|o| o.to_string()), ["reaches b:80 from 10.0.0.1"; 2]);
        let full = ask();
        assert_eq!(full.outcome.to_string(), "dropped");
        let (reason, why, _) = dropped(&full);
        assert_eq!((reason, why.as_str()), ("NETFILTER_DROP", "nf_conntrack: table full, dropping packet"));
        world.advance_ms(120_000);
        assert_eq!(
            probe(&mut world, "a -> 10.0.0.2:80/tcp").outcome.to_string(),
            "reaches b:80 from 10.0.0.1"
        );
    }
}
