//! Routes against a list that is read from its beginning to its end.

use std::net::IpAddr;

use ipnet::IpNet;
use proptest::prelude::*;
use seatrial_core::rules::AddrType;

use crate::stack::fib::{Entry, Flow, PolicyRule, TABLE_MAIN};
use crate::testbed::Bed;

/// A route or address of few bits, so that they meet.
fn net() -> impl Strategy<Value = IpNet> {
    (0u8..8, 0u8..8, 8u8..=32)
        .prop_map(|(b, d, prefix)| IpNet::new(IpAddr::from([10, b, 0, d]), prefix).unwrap().trunc())
}

fn entry() -> impl Strategy<Value = (u32, Entry)> {
    (prop_oneof![Just(TABLE_MAIN), Just(100)], net(), 0u32..3, 0u8..4).prop_map(|(table, to, metric, via)| {
        let via = (via > 0).then(|| IpAddr::from([192, 0, 2, via]));
        let entry =
            Entry { to, kind: AddrType::Unicast, dev: None, via, source: None, metric, of_address: false };
        (table, entry)
    })
}

fn rule() -> impl Strategy<Value = PolicyRule> {
    let mark = prop::option::of((0u32..2, Just(1u32)));
    (100u32..104, prop::option::of(net()), prop::option::of(net()), mark).prop_map(
        |(priority, from, to, fwmark)| PolicyRule { priority, from, to, iif: None, fwmark, table: 100 },
    )
}

/// The route by the words of man 8 ip-rule and man 8 ip-route.
fn slow<'a>(rules: &[PolicyRule], routes: &'a [(u32, Entry)], flow: &Flow<'_>) -> Option<&'a Entry> {
    let mut rules: Vec<&PolicyRule> = rules.iter().collect();
    rules.sort_by_key(|r| r.priority);
    let meant = |rule: &&&PolicyRule| {
        // Of a packet that has no source yet 0.0.0.0 is looked at.
        let src = flow.src.unwrap_or(IpAddr::from([0, 0, 0, 0]));
        rule.from.is_none_or(|net| net.contains(&src))
            && rule.to.is_none_or(|net| net.contains(&flow.dst))
            && rule.fwmark.is_none_or(|(mark, mask)| flow.mark & mask == mark)
    };
    let best = |rule: &PolicyRule| {
        let there = routes.iter().enumerate();
        let there = there.filter(|(_, (table, e))| *table == rule.table && e.to.contains(&flow.dst));
        there.min_by_key(|(i, (_, e))| (32 - e.to.prefix_len(), e.metric, *i)).map(|(_, (_, e))| e)
    };
    rules.iter().filter(meant).find_map(|rule| best(rule))
}

#[test]
fn a_route_is_that_of_a_list_read_from_its_beginning_to_its_end() {
    let lists = (
        prop::collection::vec(entry(), 0..20),
        prop::collection::vec(rule(), 0..4),
        prop::collection::vec((net(), prop::option::of(net()), 0u32..2), 1..20),
    );
    super::hold(
        "fib::a_route_is_that_of_a_list_read_from_its_beginning_to_its_end",
        256,
        &lists,
        |(routes, rules, flows)| {
            let mut world = Bed::new().machine("a", "192.0.2.200/24").world();
            let ns = world.spaces[&seatrial_core::plan::NsName::from("a")];
            let dev = world.device(ns, &"eth0".parse().unwrap()).unwrap();
            let mut listed = Vec::new();
            for (table, entry) in routes {
                let entry = Entry { dev: Some(dev), ..entry };
                let same =
                    |(t, e): &(u32, Entry)| *t == table && (e.to, e.metric) == (entry.to, entry.metric);
                // Two routes of one table, destination and metric: EEXIST.
                if !listed.iter().any(same) {
                    world.stacks[ns].fib.add(table, entry);
                    listed.push((table, entry));
                }
            }
            rules.iter().for_each(|rule| world.stacks[ns].fib.add_rule(rule.clone()));
            let main = PolicyRule {
                priority: 32766,
                from: None,
                to: None,
                iif: None,
                fwmark: None,
                table: TABLE_MAIN,
            };
            let all: Vec<PolicyRule> = rules.into_iter().chain([main]).collect();
            for (dst, src, mark) in flows {
                let flow = Flow { dst: dst.addr(), src: src.map(|s| s.addr()), iif: None, oif: None, mark };
                let found = world.route(ns, &flow).map(|path| path.via);
                let expected = slow(&all, &listed, &flow).map(|e| e.via);
                if found != expected {
                    return Err(format!("{flow:?}: {found:?}, and by the list {expected:?}"));
                }
            }
            Ok(())
        },
    );
}
