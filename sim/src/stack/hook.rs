//! Where packets pass the rules of a namespace, and what becomes of those that do not pass.

use std::net::IpAddr;

use seatrial_core::probe::Outcome;
use seatrial_core::rules::{Hook, RejectWith};

use super::address::View;
use super::icmp::Reason;
use crate::arena::{DevId, NsId};
use crate::netfilter::{BridgePorts, Cause, Context, DROP_REASON, Verdict};
use crate::packet::Checksum;
use crate::skb::Skb;
use crate::trace::Event as Happened;
use crate::world::World;

impl World {
    /// Runs a hook's rules over a packet, which they may rewrite; whether it goes on.
    #[inline]
    pub(crate) fn hook(
        &mut self,
        ns: NsId,
        at: Hook,
        skb: &mut Skb,
        input: Option<DevId>,
        output: Option<DevId>,
    ) -> bool {
        self.hook_to(ns, at, skb, &Devices { input, output, port: None, next_hop: None })
    }

    /// As [`World::hook`], for a bridged packet that leaves by `port`.
    pub(crate) fn hook_bridged(
        &mut self,
        ns: NsId,
        at: Hook,
        skb: &mut Skb,
        input: Option<DevId>,
        output: Option<DevId>,
        port: Option<DevId>,
    ) -> bool {
        self.hook_to(ns, at, skb, &Devices { input, output, port, next_hop: None })
    }

    /// As [`World::hook`], with all that there is to say about devices.
    #[inline]
    pub(crate) fn hook_to(&mut self, ns: NsId, at: Hook, skb: &mut Skb, by: &Devices) -> bool {
        self.stacks[ns].netfilter.is_none() || self.ruled(ns, at, skb, by)
    }

    fn ruled(&mut self, ns: NsId, at: Hook, skb: &mut Skb, by: &Devices) -> bool {
        // What neighbour discovery passes would make every journey twice as long: only what drops it is noted.
        let verdict = if skb.packet.is_discovery() {
            let hops = self.hops.take();
            let verdict = self.run_rules(ns, at, skb, by);
            self.hops = hops;
            verdict
        } else {
            self.run_rules(ns, at, skb, by)
        };
        match verdict {
            Verdict::Accept => true,
            Verdict::Drop(cause) => {
                let what = if skb.packet.is_discovery() { "neighbour discovery: " } else { "" };
                self.note_drop(ns, by.any(), skb, DROP_REASON, |w| format!("{what}{}", w.why(ns, cause)));
                false
            }
            Verdict::Reject(with, cause) => {
                self.reject(ns, by.any(), skb, with, cause);
                false
            }
            Verdict::Depends(cause) => {
                let netfilter = self.stacks[ns].netfilter.as_ref();
                let (rule, what) = netfilter.map(|n| n.depends(cause)).unwrap_or_default();
                self.conclude(Outcome::Depends { rule, what });
                false
            }
        }
    }

    fn run_rules(&mut self, ns: NsId, at: Hook, skb: &mut Skb, by: &Devices) -> Verdict {
        let Self { stacks, devices, seed, clock, hops, .. } = self;
        let stack = &mut stacks[ns];
        let Some(netfilter) = &mut stack.netfilter else { return Verdict::Accept };
        let name = |dev: DevId| &devices[dev].name;
        let bridged =
            skb.meta.bridge.map(|b| BridgePorts { input: Some(name(b.input)), output: by.port.map(name) });
        let mut context = Context {
            now_us: clock.now_us(),
            seed,
            input: by.input.map(name),
            output: by.output.map(name),
            bridged,
            next_hop: by.next_hop,
            routing: &View { inet: &stack.inet, links: &stack.links, fib: &stack.fib },
            ns: &stack.name,
            flight: skb.meta.flight,
            hops: hops.as_mut(),
        };
        netfilter.hook(at, &mut skb.packet, &mut skb.meta.ct, &mut context)
    }

    fn why(&self, ns: NsId, cause: Cause) -> String {
        self.stacks[ns].netfilter.as_ref().map(|n| n.why(cause)).unwrap_or_default()
    }

    /// Tells the sender (`nf_send_unreach`, `nf_send_reset`).
    fn reject(&mut self, ns: NsId, dev: Option<DevId>, skb: &Skb, with: RejectWith, cause: Cause) {
        self.note(ns, dev, skb, |w| Happened::Answer { what: format!("rejected: {}", w.why(ns, cause)) });
        // Whom a wrong checksum names as the sender is not told (`nf_reject_verify_csum`).
        if skb.packet.checksum != Checksum::Good {
            return;
        }
        match with {
            RejectWith::TcpReset => self.tcp_reset(ns, skb),
            RejectWith::Icmp { code } | RejectWith::Icmpv6 { code } => {
                self.icmp_error(ns, skb, Reason::Rejected { code });
            }
        }
    }
}

/// The devices a packet is on at a hook.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Devices {
    pub(crate) input: Option<DevId>,
    pub(crate) output: Option<DevId>,
    /// The bridge port that a bridged packet leaves by.
    pub(crate) port: Option<DevId>,
    /// Whom it is sent to on the link.
    pub(crate) next_hop: Option<IpAddr>,
}

impl Devices {
    fn any(&self) -> Option<DevId> {
        self.output.or(self.input)
    }
}

#[cfg(test)]
mod tests {
    use seatrial_core::addr::Family;
    use seatrial_core::plan::Object;

    use crate::testbed::{Bed, ask, dropped, pair, probe, routed};
    use crate::trace::{Event as Happened, Hop};

    const FILTER: &str = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n";

    fn filter(rules: &str) -> String {
        format!("{FILTER}{rules}\nCOMMIT\n")
    }

    #[test]
    fn v1_neighbour_discovery_meets_the_rules_of_both_ends() {
        // Linux 6.18, and fixtures/trials/firewall/neighbour-discovery.trial.yaml.
        let bed = Bed::new().machine("a", "fd00::1/64").machine("b", "fd00::2/64").listen("b", "80/tcp");
        let tcp = "-A INPUT -p tcp -j ACCEPT\n";
        let found = "-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 135 -m hl --hl-eq 255 -j ACCEPT\n\
            -A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 136 -m hl --hl-eq 255 -j ACCEPT\n";
        let ask = |input: &str| {
            let rules = format!("*filter\n:INPUT DROP [0:0]\n{input}COMMIT\n");
            let rules = seatrial_core::rules::iptables::parse(&rules, Family::V6).unwrap();
            probe(&mut bed.clone().with("b", Object::Rules(rules.into())).world(), "a -> [fd00::2]:80/tcp")
        };
        let unfound = ask(tcp);
        assert_eq!(unfound.outcome.to_string(), "unreachable (host)");
        let why = "neighbour discovery: the policy of filter INPUT: DROP";
        let said = |hop: &Hop| matches!(&hop.event, Happened::Drop { why: said, .. } if said == why);
        assert!(unfound.trace.hops.iter().any(|hop| hop.ns.as_str() == "b" && said(hop)));
        assert_eq!(ask(&format!("{tcp}{found}")).outcome.to_string(), "reaches b:80 from fd00::1");
        // Whoever may not be told of its neighbour cannot answer.
        let half = found.lines().next().unwrap_or_default();
        assert_eq!(ask(&format!("{tcp}{half}\n")).outcome.to_string(), "reaches b:80 from fd00::1");
    }

    #[test]
    fn a_dropped_packet_names_its_rule_and_leaves_nothing_behind() {
        let bed =
            pair().listen("b", "80/tcp").rules("b", &filter("-A INPUT -p tcp -m tcp --dport 80 -j DROP"));
        let answer = probe(&mut bed.world(), "a -> 10.0.0.2:80/tcp");
        assert_eq!(answer.outcome.to_string(), "dropped");
        let (reason, why, ns) = dropped(&answer);
        assert_eq!((reason, ns.as_str()), ("NETFILTER_DROP", "b"));
        assert!(why.contains("INPUT"), "{why}");
    }

    #[test]
    fn r1_reject_tells_the_sender_by_icmp_and_by_reset() {
        for (rule, outcome) in [
            ("-A INPUT -p tcp -j REJECT", "refused"),
            ("-A INPUT -p tcp -j REJECT --reject-with tcp-reset", "refused"),
            ("-A INPUT -p tcp -j REJECT --reject-with icmp-host-prohibited", "unreachable (prohibited)"),
            ("-A INPUT -p tcp -j REJECT --reject-with icmp-host-unreachable", "unreachable (host)"),
        ] {
            let mut world = pair().listen("b", "80/tcp").rules("b", &filter(rule)).world();
            assert_eq!(ask(&mut world, "a -> 10.0.0.2:80/tcp"), outcome, "{rule}");
        }
    }

    #[test]
    fn h10_n3_dnat_and_masquerade_are_undone_for_the_answer() {
        let nat = "*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n\
            -A PREROUTING -d 10.0.0.254/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.0.1.2:80\n\
            -A POSTROUTING -o eth1 -j MASQUERADE\nCOMMIT\n";
        let mut world = routed().listen("b", "80/tcp").rules("r", nat).world();
        assert_eq!(ask(&mut world, "a -> 10.0.0.254:8080/tcp"), "reaches b:80 from 10.0.1.254");
    }

    #[test]
    fn h10_postrouting_sees_where_a_forwarded_packet_came_from_and_none_for_its_own() {
        // Since 5.7 (28f8bfd1ac94, "netfilter: Support iif matches in POSTROUTING"); 6.18 masquerades by it in lane
        // kernel of fixtures/trials/nft.
        let nat = "*nat\n:POSTROUTING ACCEPT [0:0]\n:OUT - [0:0]\n-A POSTROUTING -j OUT\n\
            -A OUT -i eth0 -o eth1 -j MASQUERADE\nCOMMIT\n";
        let mut world = routed().listen("b", "80/tcp").rules("r", nat).world();
        assert_eq!(ask(&mut world, "a -> 10.0.1.2:80/tcp"), "reaches b:80 from 10.0.1.254");
        let own = nat
            .replace("-i eth0 -o eth1", "! -i eth0 -o eth1")
            .replace("MASQUERADE", "SNAT --to-source 10.0.0.254");
        let mut world = routed().listen("b", "80/tcp").rules("r", &own).world();
        assert_eq!(ask(&mut world, "r -> 10.0.1.2:80/tcp"), "reaches b:80 from 10.0.0.254");
    }

    #[test]
    fn an_answer_that_goes_around_the_machine_that_rewrote_the_question_meets_no_socket() {
        let nat = "*nat\n:PREROUTING ACCEPT [0:0]\n\
            -A PREROUTING -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.0.1.2:80\nCOMMIT\n";
        let bed = routed().listen("b", "80/tcp").rules("r", nat);
        let mut world = bed.plug("b", "eth1", ("wire", "sw"), &["10.0.0.2/24"]).world();
        let answer = probe(&mut world, "a -> 10.0.0.254:8080/tcp");
        assert_eq!(answer.outcome.to_string(), "dropped");
        let (reason, why, ns) = dropped(&answer);
        assert_eq!((reason, ns.as_str()), ("NO_SOCKET", "a"), "{why}");
    }

    #[test]
    fn f12_a_loopback_source_leaves_only_where_route_localnet_is_on() {
        // Linux 6.18: with OUTPUT DNAT of 127.0.0.1:8080, route_localnet=0: timeout; =1 without masquerade: a timeout where
        // the neighbour is known, and unreachable where it is not, since it answers no question of 127.0.0.1's;
        // =1 with masquerade: works, and the container sees the device's address.
        let dnat =
            "-A OUTPUT -d 127.0.0.1/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.0.1.2:80\n";
        let masquerade = "-A POSTROUTING -o eth1 -m addrtype --src-type LOCAL -j MASQUERADE\n";
        let nat =
            |rules: &str| format!("*nat\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n{rules}COMMIT\n");
        let both = format!("{dnat}{masquerade}");
        for (rules, localnet, outcome) in [
            (both.as_str(), 0, "dropped"),
            (dnat, 1, "unreachable (host)"),
            (both.as_str(), 1, "reaches b:80 from 10.0.1.254"),
        ] {
            let bed = routed().listen("b", "80/tcp").rules("r", &nat(rules));
            let mut world = bed.sysctl("r", &format!("net.ipv4.conf.eth1.route_localnet={localnet}")).world();
            assert_eq!(
                ask(&mut world, "r -> 127.0.0.1:8080/tcp"),
                outcome,
                "route_localnet={localnet}: {rules}"
            );
        }
        let bed = routed().listen("b", "80/tcp").rules("r", &nat(dnat));
        let mut world = bed.sysctl("r", "net.ipv4.conf.eth1.route_localnet=1").world();
        assert_eq!(ask(&mut world, "r -> 10.0.1.2:80/tcp"), "reaches b:80 from 10.0.1.254");
        assert_eq!(ask(&mut world, "r -> 127.0.0.1:8080/tcp"), "dropped");
    }
}
