//! Conntrack: states, lives and deaths of entries. TCP is held against the kernel's own in `tests/conntrack.rs`.

use super::*;

const STATES: &str = "*mangle\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m conntrack --ctstate NEW -j MARK --set-mark 1\n\
                      -A FORWARD -m conntrack --ctstate ESTABLISHED -j MARK --set-mark 2\n\
                      -A FORWARD -m conntrack --ctstate RELATED -j MARK --set-mark 3\n\
                      -A FORWARD -m conntrack --ctstate INVALID -j MARK --set-mark 4\n\
                      -A FORWARD -m conntrack --ctstate UNTRACKED -j MARK --set-mark 5\nCOMMIT\n";

/// The state a rule in FORWARD saw.
fn state(host: &mut Host, packet: Packet) -> &'static str {
    let mark = host.forward(packet, "eth0", "bridge1").unwrap().mark;
    ["", "NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED"][mark as usize]
}

#[test]
fn c15_conntrack_is_off_until_a_rule_needs_it() {
    // kernel: no entry with no rules, with an empty nat table, or with NOTRACK alone; one with a ctstate match.
    let empty_nat = "*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\nCOMMIT\n";
    let notrack = "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -s 9.9.9.9 -j CT --notrack\nCOMMIT\n";
    for rules in ["", empty_nat, notrack] {
        let mut host = Host::new(rules);
        host.forward(echo("203.0.113.50", "192.0.2.2", 7, false), "eth0", "bridge1").unwrap();
        assert!(host.entries().is_empty() && !host.netfilter.tracks(Family::V4), "{rules}");
    }
    let mut host = Host::new(STATES);
    host.forward(echo("203.0.113.50", "192.0.2.2", 7, false), "eth0", "bridge1").unwrap();
    assert_eq!(host.entries().len(), 1);
    assert!(!host.netfilter.tracks(Family::V6));
}

#[test]
fn c1_an_entry_is_in_the_table_only_once_it_is_confirmed() {
    let mut host = Host::new(STATES);
    let mut packet = syn("203.0.113.50:4000", "192.0.2.2:80");
    let mut ct = CtInfo::NONE;
    host.hook(Hook::Prerouting, &mut packet, &mut ct, ("eth0", ""));
    host.hook(Hook::Forward, &mut packet, &mut ct, ("eth0", "bridge1"));
    assert!(host.entries().is_empty());
    host.hook(Hook::Postrouting, &mut packet, &mut ct, ("eth0", "bridge1"));
    assert_eq!(host.entries().len(), 1);
}

#[test]
fn c3_a_second_packet_before_any_reply_is_still_new() {
    let mut host = Host::new(STATES);
    let query = udp("203.0.113.50:4000", "192.0.2.2:53");
    assert_eq!(state(&mut host, query), "NEW");
    assert_eq!(state(&mut host, query), "NEW");
    assert_eq!(state(&mut host, answer(&query, TcpFlags::default())), "ESTABLISHED");
    assert_eq!(state(&mut host, query), "ESTABLISHED");
}

#[test]
fn c4_an_invalid_packet_is_not_dropped_by_conntrack() {
    let mut host = Host::new(STATES);
    assert_eq!(state(&mut host, echo("203.0.113.50", "192.0.2.2", 7, true)), "INVALID");
    assert_eq!(state(&mut host, tcp("203.0.113.50:4000", "192.0.2.2:80", SYN_ACK)), "INVALID");
    let christmas_tree = TcpFlags(0x29);
    assert_eq!(state(&mut host, tcp("203.0.113.50:4000", "192.0.2.2:80", christmas_tree)), "INVALID");
}

#[test]
fn c6_the_timeouts_are_linuxes() {
    // kernel: icmp 30, udp 30, protocol 99 600 (`conntrack -L`).
    let mut host = Host::new(STATES);
    host.forward(echo("203.0.113.50", "192.0.2.2", 7, false), "eth0", "bridge1").unwrap();
    host.forward(udp("203.0.113.50:5000", "192.0.2.2:53"), "eth0", "bridge1").unwrap();
    host.forward(packet("203.0.113.50", "192.0.2.2", L4::Other(99)), "eth0", "bridge1").unwrap();
    assert_eq!(
        host.entries(),
        [
            "icmp     1 30 src=203.0.113.50 dst=192.0.2.2 type=8 code=0 id=7 [UNREPLIED] \
             src=192.0.2.2 dst=203.0.113.50 type=0 code=0 id=7 mark=0 use=1",
            "udp      17 30 src=203.0.113.50 dst=192.0.2.2 sport=5000 dport=53 [UNREPLIED] \
             src=192.0.2.2 dst=203.0.113.50 sport=53 dport=5000 mark=0 use=1",
            "unknown  99 600 src=203.0.113.50 dst=192.0.2.2 [UNREPLIED] src=192.0.2.2 dst=203.0.113.50 mark=0 use=1",
        ]
    );
    host.wait_s(30);
    assert_eq!(host.entries().len(), 1);
    assert_eq!(state(&mut host, udp("203.0.113.50:5000", "192.0.2.2:53")), "NEW");
}

#[test]
fn c6_a_timeout_is_what_its_setting_says() {
    // Linux 6.18, after `sysctl -w net.netfilter.nf_conntrack_udp_timeout=7` and a moment more: udp 17 6 ….
    let mut host = Host::new(STATES);
    let mut tuning = crate::netfilter::Tuning::default();
    for (setting, seconds) in [("udp_timeout", 7), ("icmp_timeout", 8), ("tcp_timeout_syn_sent", 9)] {
        *tuning.timeouts.named(setting).unwrap() = seconds;
    }
    host.netfilter.tune(tuning);
    host.forward(udp("203.0.113.50:5000", "192.0.2.2:53"), "eth0", "bridge1").unwrap();
    host.forward(echo("203.0.113.50", "192.0.2.2", 7, false), "eth0", "bridge1").unwrap();
    host.forward(syn("203.0.113.50:4000", "192.0.2.2:80"), "eth0", "bridge1").unwrap();
    let starts = |text: &str| host.entries().iter().any(|entry| entry.starts_with(text));
    assert!(starts("udp      17 7 ") && starts("icmp     1 8 ") && starts("tcp      6 9 SYN_SENT "));
    host.wait_s(7);
    assert_eq!(host.entries().len(), 2);
    assert_eq!(tuning.timeouts.named("tcp_timeout_of_nothing"), None);
}

#[test]
fn c7_udp_is_a_stream_after_two_seconds_of_talk() {
    let mut host = Host::new(STATES);
    let query = udp("203.0.113.50:5000", "192.0.2.2:53");
    let reply = answer(&query, TcpFlags::default());
    host.forward(query, "eth0", "bridge1").unwrap();
    host.forward(reply, "bridge1", "eth0").unwrap();
    host.forward(query, "eth0", "bridge1").unwrap();
    assert!(host.entries()[0].starts_with("udp      17 30 ") && !host.entries()[0].contains("ASSURED"));
    host.wait_s(3);
    host.forward(query, "eth0", "bridge1").unwrap();
    assert!(host.entries()[0].starts_with("udp      17 120 ") && host.entries()[0].contains("[ASSURED]"));
}

#[test]
fn c8_a_refused_connection_leaves_nothing() {
    let mut host = Host::new(STATES);
    let packet = syn("203.0.113.50:4000", "192.0.2.2:80");
    host.forward(packet, "eth0", "bridge1").unwrap();
    let refused = answer(&packet, TcpFlags::RST.with(TcpFlags::ACK));
    assert_eq!(state(&mut host, refused), "ESTABLISHED");
    assert!(host.entries().is_empty());
}

#[test]
fn c11_neighbour_discovery_is_untracked() {
    let states = STATES;
    let mut host = Host::v6(states);
    for kind in [135, 136, 143] {
        let message = packet("2001:db8:2::2", "ff02::1", L4::Icmp(Icmp::Other { kind, code: 0 }));
        assert_eq!(state(&mut host, message), "UNTRACKED", "{kind}");
    }
    let ping = echo("2001:db8:2::2", "2001:db8:1::50", 7, false);
    assert_eq!(state(&mut host, ping), "NEW");
    assert_eq!(state(&mut host, answer(&ping, TcpFlags::default())), "ESTABLISHED");
}

#[test]
fn c12_an_error_is_related_only_where_it_goes_back_to_the_sender() {
    // kernel: an error with another outer destination is INVALID.
    let mut host = Host::new(STATES);
    let query = udp("203.0.113.50:4000", "192.0.2.2:53");
    host.forward(query, "eth0", "bridge1").unwrap();
    assert_eq!(state(&mut host, unreachable("192.0.2.2", "203.0.113.50", 3, &query)), "RELATED");
    assert_eq!(state(&mut host, unreachable("192.0.2.2", "203.0.113.51", 3, &query)), "INVALID");
    let unknown = udp("203.0.113.50:4001", "192.0.2.2:53");
    assert_eq!(state(&mut host, unreachable("192.0.2.2", "203.0.113.50", 3, &unknown)), "INVALID");
}

#[test]
fn notrack_leaves_a_packet_untracked_and_untranslated() {
    let raw = "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p udp -j CT --notrack\nCOMMIT\n";
    let mut host = Host::new(&format!("{raw}{STATES}"));
    assert_eq!(state(&mut host, udp("203.0.113.50:4000", "192.0.2.2:53")), "UNTRACKED");
    assert!(host.entries().is_empty());
}

#[test]
fn a_reset_by_reject_closes_the_connection() {
    // kernel: 431999 ESTABLISHED became 9 CLOSE.
    let mut host = Host::new(STATES);
    let opening = syn("203.0.113.50:4000", "192.0.2.2:80");
    host.forward(opening, "eth0", "bridge1").unwrap();
    let accepted = answer(&opening, SYN_ACK);
    host.forward(accepted, "bridge1", "eth0").unwrap();
    let ack = answer(&accepted, TcpFlags::ACK);
    host.forward(ack, "eth0", "bridge1").unwrap();
    assert!(host.entries()[0].contains("432000 ESTABLISHED"));
    let reject =
        "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -p tcp -j REJECT --reject-with tcp-reset\nCOMMIT\n";
    let rules = [iptables::parse(&format!("{STATES}{reject}"), Family::V4).unwrap()];
    host.netfilter.replace(&rules.map(Into::into), Family::V4).unwrap();
    assert!(matches!(host.forward(ack, "eth0", "bridge1"), Err(Verdict::Reject(..))));
    assert!(host.entries()[0].starts_with("tcp      6 10 CLOSE "));
}

#[test]
fn a_flow_is_flushed_by_any_of_its_addresses() {
    for (addr, left) in [("203.0.113.50", 0), ("192.0.2.2", 0), ("192.0.2.3", 1)] {
        let mut host = Host::new(STATES);
        host.forward(udp("203.0.113.50:4000", "192.0.2.2:53"), "eth0", "bridge1").unwrap();
        host.netfilter.flush(ip(addr), host.now_us);
        assert_eq!(host.entries().len(), left, "{addr}");
    }
}

#[test]
fn c4_a_full_table_drops_what_is_new_until_an_unanswered_flow_can_be_given_up() {
    let mut host = Host::new(STATES);
    host.netfilter.tune(crate::netfilter::Tuning { max: 2, ..Default::default() });
    for port in [4000, 4001] {
        let query = udp(&format!("203.0.113.50:{port}"), "192.0.2.2:53");
        host.forward(query, "eth0", "bridge1").unwrap();
        host.forward(answer(&query, TcpFlags::default()), "bridge1", "eth0").unwrap();
        host.wait_s(3);
        host.forward(query, "eth0", "bridge1").unwrap();
    }
    let third = udp("203.0.113.50:4002", "192.0.2.2:53");
    let verdict = host.forward(third, "eth0", "bridge1").unwrap_err();
    assert_eq!(host.why(verdict), "nf_conntrack: table full, dropping packet");
    // The two are assured for two minutes; then their places are free.
    host.wait_s(121);
    host.forward(third, "eth0", "bridge1").unwrap();
    host.forward(udp("203.0.113.50:4003", "192.0.2.2:53"), "eth0", "bridge1").unwrap();
    // Nobody has answered these: one of them is given up for the next.
    host.forward(udp("203.0.113.50:4004", "192.0.2.2:53"), "eth0", "bridge1").unwrap();
    assert_eq!(host.entries().len(), 2);
}

#[test]
fn n7_two_packets_of_one_udp_flow_share_the_entry_of_the_one_that_was_first() {
    let mut host = Host::new(STATES);
    let mut pass = |at, packet: &mut Packet, ct: &mut CtInfo| {
        assert_eq!(host.hook(at, packet, ct, ("eth0", "bridge1")), Verdict::Accept);
    };
    let mut both = [udp("203.0.113.50:4000", "192.0.2.2:53"); 2];
    let mut carried = [CtInfo::NONE; 2];
    // As a flood copies a packet, or two threads send from one socket: both are NEW before either is confirmed.
    for (packet, ct) in both.iter_mut().zip(&mut carried) {
        pass(Hook::Prerouting, packet, ct);
    }
    for (packet, ct) in both.iter_mut().zip(&mut carried) {
        pass(Hook::Postrouting, packet, ct);
    }
    assert_eq!(carried[0], carried[1]);
    assert_eq!(host.entries().len(), 1);
}
