//! What changes come to: the steps of fixtures/engines/28.5/r-restart, and that operations lead where they should.

use std::collections::BTreeMap;

use seatrial_core::engine::Engine;
use seatrial_core::plan::{Item, LinkKind, Namespace, Object, Plan, PlanOp, Planner};
use seatrial_core::probe::{Change, Fault, NsKind, Way};
use seatrial_core::topology::{ContainerRef, NetworkMode, NodeName, PidMode, Topology};

use crate::topologies::{at, container, network, publish, topology};

/// The topology of r-restart: a, b and c on front, b on back too.
fn restart() -> Topology {
    let mut a = container("a", &["front"]);
    let mut b = container("b", &["front", "back"]);
    let mut c = container("c", &["front"]);
    a.ports = vec![publish("8081:80")];
    b.ports = vec![publish("8082:80"), publish("80")];
    c.ports = vec![publish("8083:80")];
    let mut topology = topology(vec![network("front"), network("back")], vec![a, b, c]);
    topology.hosts[0].engine = "28.5.2".parse::<Engine>().unwrap();
    topology
}

fn addresses(plan: &Plan, node: &str) -> Vec<String> {
    let own = plan.items.iter().filter(|i| i.ns.as_str() == node);
    let of = |i: &Item| match &i.object {
        Object::Address(a) => Some(a.net.addr().to_string()),
        _ => None,
    };
    own.filter_map(of).collect()
}

fn ephemeral(plan: &Plan) -> Vec<u16> {
    let of = |i: &Item| match &i.object {
        Object::Proxy(p) if p.listen.port() >= 32768 && p.listen.is_ipv4() => Some(p.listen.port()),
        _ => None,
    };
    plan.items.iter().filter_map(of).collect()
}

fn node(name: &str) -> NodeName {
    name.into()
}

/// What a list of objects becomes under operations, by what each object is.
fn apply(items: Vec<Item>, ops: &[PlanOp]) -> Vec<Item> {
    let mut items = items;
    for op in ops {
        match op {
            PlanOp::Add(item) => items.push(item.clone()),
            PlanOp::Remove(item) => {
                let place = items.iter().position(|i| i == item);
                items.remove(place.unwrap_or_else(|| panic!("{item:?} is not there to be removed")));
                // The devices of a network namespace that goes, and with them their cables' other ends.
                let last = matches!(&item.object, Object::Namespace(Namespace::Network));
                let devices =
                    items.iter().filter(|i| last && i.ns == item.ns && matches!(i.object, Object::Link(_)));
                for gone in devices.cloned().chain([item.clone()]).collect::<Vec<_>>() {
                    items.retain(|i| !goes_with(&gone, i));
                }
            }
            PlanOp::Replace(item) => {
                let place = items.iter().position(|i| i.ns == item.ns && replaces(&item.object, &i.object));
                let place = place.unwrap_or_else(|| panic!("nothing has the place of {item:?}"));
                items[place] = item.clone();
            }
            PlanOp::FlushConntrack { .. } | PlanOp::FlushConntrackPort { .. } | PlanOp::Announce { .. } => {}
        }
    }
    items
}

fn replaces(new: &Object, old: &Object) -> bool {
    match (new, old) {
        (Object::File(a), Object::File(b)) => a.path == b.path,
        (Object::Rules(a), Object::Rules(b)) => a.family == b.family && a.backend == b.backend,
        (Object::Script(_), Object::Script(_)) => true,
        (Object::Resolver(_), Object::Resolver(_)) => true,
        (Object::Sysctl(a), Object::Sysctl(b)) => a.key == b.key,
        _ => false,
    }
}

/// What a kernel takes away by itself.
fn goes_with(gone: &Item, other: &Item) -> bool {
    match (&gone.object, &other.object) {
        (Object::Namespace(Namespace::Mount(_)), Object::File(_)) => gone.ns == other.ns,
        (Object::Namespace(Namespace::Network), object) => {
            let elsewhere = matches!(object, Object::Namespace(_) | Object::File(_) | Object::Process(_));
            gone.ns == other.ns && !elsewhere
        }
        (Object::Process(p), Object::Listener(l)) => p.node == l.node,
        (Object::Link(link), object) => {
            let mut ends = vec![(&gone.ns, &link.name)];
            if let LinkKind::Veth(peer) = &link.kind {
                ends.push((&peer.ns, &peer.name));
            }
            ends.iter().any(|(ns, name)| {
                *ns == &other.ns
                    && match object {
                        Object::Address(a) => a.link == **name,
                        Object::Up(up) => up == *name,
                        Object::BridgePort(p) => p.link == **name,
                        Object::Route(r) => r.dev.as_ref() == Some(name),
                        Object::Sysctl(s) => s.key.split('.').any(|part| part == name.as_str()),
                        _ => false,
                    }
            })
        }
        _ => false,
    }
}

fn sorted(items: &[Item]) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for item in items {
        *all.entry(serde_json::to_string(item).unwrap()).or_default() += 1;
    }
    all
}

/// Changes the planner, and holds its operations against its own next plan.
pub(crate) fn step(planner: &mut Planner, change: &Change) -> Vec<PlanOp> {
    let before = planner.plan().items;
    let ops = planner.change(change).unwrap();
    let after = planner.plan();
    assert_eq!(sorted(&apply(before, &ops)), sorted(&after.items), "after {change:?}");
    assert_eq!(seatrial_core::plan::check::check(&after), Ok(()), "after {change:?}");
    ops
}

#[test]
fn released_addresses_are_given_again_as_the_engine_gave_them() {
    let (mut planner, plan) = Planner::new(&restart()).unwrap();
    assert_eq!(addresses(&plan, "b"), ["172.19.0.2", "172.18.0.3"]);
    assert_eq!(ephemeral(&plan), [32768]);
    step(&mut planner, &Change::Stop(node("b")));
    assert_eq!(addresses(&planner.plan(), "b"), Vec::<String>::new());
    step(&mut planner, &Change::Start(node("b")));
    assert_eq!(addresses(&planner.plan(), "b"), ["172.19.0.2", "172.18.0.3"]);
    assert_eq!(ephemeral(&planner.plan()), [32770], "the other network was its gateway for a moment");
    step(&mut planner, &Change::Stop(node("a")));
    step(&mut planner, &Change::Stop(node("b")));
    step(&mut planner, &Change::Start(node("b")));
    step(&mut planner, &Change::Start(node("a")));
    assert_eq!(addresses(&planner.plan(), "b"), ["172.19.0.2", "172.18.0.2"]);
    assert_eq!(addresses(&planner.plan(), "a"), ["172.18.0.3"]);
    assert_eq!(ephemeral(&planner.plan()), [32772]);
    step(&mut planner, &Change::Replace(node("b")));
    assert_eq!(addresses(&planner.plan(), "b"), ["172.19.0.2", "172.18.0.2"]);
    assert_eq!(ephemeral(&planner.plan()), [32774]);
}

#[test]
fn a_start_announces_addresses_and_forgets_their_flows() {
    let (mut planner, _) = Planner::new(&restart()).unwrap();
    step(&mut planner, &Change::Stop(node("a")));
    let ops = step(&mut planner, &Change::Start(node("a")));
    let address = "172.18.0.2".parse().unwrap();
    let flush = PlanOp::FlushConntrack { ns: (&NodeName::host()).into(), address };
    assert!(ops.contains(&flush), "{ops:?}");
    let link = "eth0".parse().unwrap();
    assert!(ops.contains(&PlanOp::Announce { ns: (&node("a")).into(), link, address }), "{ops:?}");
}

#[test]
fn a_start_has_new_hardware_addresses_and_a_replacement_another_id() {
    let mac = |plan: &Plan| {
        plan.items.iter().find_map(|i| match &i.object {
            Object::Link(l) => match &l.kind {
                LinkKind::Veth(peer) if peer.ns.as_str() == "a" => peer.mac,
                _ => None,
            },
            _ => None,
        })
    };
    let hostname = |plan: &Plan| {
        plan.items.iter().find_map(|i| match &i.object {
            Object::Namespace(Namespace::Uts { hostname, .. }) if i.ns.as_str() == "a" => {
                Some(hostname.clone())
            }
            _ => None,
        })
    };
    let (mut planner, first) = Planner::new(&restart()).unwrap();
    step(&mut planner, &Change::Stop(node("a")));
    step(&mut planner, &Change::Start(node("a")));
    let second = planner.plan();
    assert_ne!(mac(&first), mac(&second));
    assert_eq!(hostname(&first), hostname(&second));
    step(&mut planner, &Change::Replace(node("a")));
    assert_ne!(hostname(&second), hostname(&planner.plan()));
}

#[test]
fn starting_what_runs_and_stopping_what_does_not_changes_nothing() {
    let (mut planner, _) = Planner::new(&restart()).unwrap();
    assert_eq!(step(&mut planner, &Change::Start(node("a"))), []);
    step(&mut planner, &Change::Stop(node("a")));
    assert_eq!(step(&mut planner, &Change::Stop(node("a"))), []);
}

#[test]
fn the_others_resolvers_forget_a_stopped_container() {
    let knows = |plan: &Plan| {
        plan.items.iter().any(|i| match &i.object {
            Object::Resolver(r) => i.ns.as_str() == "c" && r.zone.names.contains_key("a"),
            _ => false,
        })
    };
    let (mut planner, plan) = Planner::new(&restart()).unwrap();
    assert!(knows(&plan));
    step(&mut planner, &Change::Stop(node("a")));
    assert!(!knows(&planner.plan()));
    step(&mut planner, &Change::Start(node("a")));
    assert!(knows(&planner.plan()));
}

#[test]
fn a_better_gateway_takes_the_ports_with_it() {
    let mut web = container("web", &["mid"]);
    web.ports = vec![publish("8080:80"), publish("81")];
    let networks = vec![network("mid"), network("aaa"), network("zzz")];
    let (mut planner, _) = Planner::new(&topology(networks, vec![web])).unwrap();
    let connect = |n: &str| Change::Connect(node("web"), n.to_owned());
    let disconnect = |n: &str| Change::Disconnect(node("web"), n.to_owned());
    let target = |plan: &Plan| {
        let of = |i: &Item| match &i.object {
            Object::Proxy(p) if p.listen.is_ipv4() => {
                Some(format!("{} -> {}", p.listen.port(), p.connect.ip()))
            }
            _ => None,
        };
        plan.items.iter().filter_map(of).collect::<Vec<_>>()
    };
    assert_eq!(target(&planner.plan()), ["8080 -> 172.18.0.2", "32768 -> 172.18.0.2"]);
    step(&mut planner, &connect("zzz"));
    assert_eq!(target(&planner.plan()), ["8080 -> 172.18.0.2", "32768 -> 172.18.0.2"]);
    step(&mut planner, &connect("aaa"));
    assert_eq!(target(&planner.plan()), ["8080 -> 172.19.0.2", "32769 -> 172.19.0.2"]);
    step(&mut planner, &disconnect("mid"));
    assert_eq!(target(&planner.plan()), ["8080 -> 172.19.0.2", "32769 -> 172.19.0.2"]);
    step(&mut planner, &disconnect("demo_aaa"));
    assert_eq!(target(&planner.plan()), ["8080 -> 172.20.0.2", "32770 -> 172.20.0.2"]);
    step(&mut planner, &disconnect("zzz"));
    assert_eq!(target(&planner.plan()), Vec::<String>::new());
    step(&mut planner, &connect("bridge"));
    assert_eq!(target(&planner.plan()), ["8080 -> 172.17.0.2", "32771 -> 172.17.0.2"]);
}

#[test]
fn what_cannot_be_connected_is_refused_in_docker_s_words() {
    let mut host = container("hosted", &[]);
    host.network = NetworkMode::Host;
    let topology = topology(vec![network("front")], vec![container("web", &["front"]), host]);
    let (mut planner, _) = Planner::new(&topology).unwrap();
    for (change, words) in [
        (Change::Connect(node("hosted"), "front".into()), "container sharing network namespace with another"),
        (Change::Disconnect(node("hosted"), "host".into()), "cannot disconnect container from host network"),
        (
            Change::Connect(node("web"), "front".into()),
            "endpoint with name demo-web-1 already exists in network",
        ),
        (Change::Connect(node("web"), "nope".into()), "network nope not found"),
        (Change::Disconnect(node("web"), "bridge".into()), "is not connected to network bridge"),
        (Change::Stop(node("lan")), "lan is no container"),
        (Change::Rule(node("host"), "iptables -A NONE -j DROP".into()), "expected a chain"),
        (Change::Rule(node("nobody"), "iptables -F".into()), "there is no node nobody"),
        (
            Change::Rule(node("web"), "nft list ruleset; flush  ruleset ip".into()),
            "it takes Docker's rules and those of iptables too",
        ),
    ] {
        let error = planner.change(&change).unwrap_err().to_string();
        assert!(error.contains(words), "{change:?}: {error}");
    }
    assert_eq!(
        planner.change(&Change::Fault(node("web"), "eth0".parse().unwrap(), Fault::Cut(Way::Both))),
        Ok(Vec::new())
    );
}

#[test]
fn a_host_that_is_off_leaves_the_wire_and_the_others_and_boots_as_it_did() {
    let (mut planner, first) = Planner::new(&restart()).unwrap();
    step(&mut planner, &Change::Rule(node("host"), "iptables -I FORWARD -j DROP".into()));
    step(&mut planner, &Change::Stop(node("b")));
    step(&mut planner, &Change::Stop(node("host")));
    let left: std::collections::BTreeSet<_> = planner.plan().items.iter().map(|i| i.ns.to_string()).collect();
    assert_eq!(left.into_iter().collect::<Vec<_>>(), ["lan", "wire"]);
    for change in [Change::Start(node("b")), Change::Rule(node("host"), "iptables -F".into())] {
        let error = planner.change(&change).unwrap_err().to_string();
        assert_eq!(error, "host is off: 'start host' comes first", "{change:?}");
    }
    assert_eq!(planner.change(&Change::Stop(node("host"))), Ok(Vec::new()));
    step(&mut planner, &Change::Start(node("host")));
    assert_eq!(planner.plan(), first);
    assert_eq!(planner.change(&Change::Start(node("host"))), Ok(Vec::new()));
}

#[test]
fn a_rule_by_hand_stays_where_docker_s_own_come_and_go() {
    let rules = |plan: &Plan, ns: &str| -> Vec<String> {
        let of = |i: &Item| match &i.object {
            Object::Rules(r) if i.ns.as_str() == ns && r.family == seatrial_core::addr::Family::V4 => {
                Some(seatrial_core::rules::iptables::save(r))
            }
            _ => None,
        };
        plan.items.iter().filter_map(of).collect()
    };
    let (mut planner, _) = Planner::new(&restart()).unwrap();
    let rule = |n: &str, text: &str| Change::Rule(node(n), text.to_owned());
    step(&mut planner, &rule("host", "iptables -I DOCKER-USER -s 203.0.113.50 -j DROP"));
    step(&mut planner, &Change::Stop(node("a")));
    step(&mut planner, &Change::Start(node("a")));
    let host = rules(&planner.plan(), "host");
    assert!(host[0].contains("-A DOCKER-USER -s 203.0.113.50/32 -j DROP"), "{}", host[0]);
    step(&mut planner, &rule("a", "iptables -A INPUT -p tcp --dport 81 -j REJECT"));
    let own = rules(&planner.plan(), "a");
    assert!(own[0].contains("--dport 81 -j REJECT") && own[0].contains("DOCKER_OUTPUT"), "{}", own[0]);
    step(&mut planner, &Change::Stop(node("a")));
    step(&mut planner, &Change::Start(node("a")));
    assert!(!rules(&planner.plan(), "a")[0].contains("REJECT"), "the namespace is a new one");
    step(&mut planner, &rule("lan", "iptables -A OUTPUT -j DROP"));
    assert!(rules(&planner.plan(), "lan")[0].contains("-A OUTPUT -j DROP"));
}

#[test]
fn a_namespace_stays_while_others_are_in_it() {
    let mut side = container("side", &[]);
    let web = || ContainerRef { node: node("web"), at: at() };
    side.network = NetworkMode::Container(web());
    let mut guest = container("guest", &["front"]);
    guest.pid = PidMode::Container(web());
    let topology = topology(vec![network("front")], vec![container("web", &["front"]), side, guest]);
    let (mut planner, _) = Planner::new(&topology).unwrap();
    step(&mut planner, &Change::Stop(node("web")));
    let own = |plan: &Plan, name: &str| -> Vec<NsKind> {
        let of = |i: &Item| match &i.object {
            Object::Namespace(n) if i.ns.as_str() == name => Some(n.kind()),
            _ => None,
        };
        plan.items.iter().filter_map(of).collect()
    };
    assert_eq!(own(&planner.plan(), "web"), [NsKind::Network]);
    assert_eq!(own(&planner.plan(), "guest"), [], "its processes died with the init of its PID namespace");
    step(&mut planner, &Change::Start(node("web")));
    assert_eq!(netns(&planner.plan(), "side"), "web");
    assert_eq!(netns(&planner.plan(), "web"), "web~2");
    step(&mut planner, &Change::Stop(node("side")));
    assert_eq!(own(&planner.plan(), "web").len(), 5, "all but network and user");
    step(&mut planner, &Change::Start(node("side")));
    assert_eq!(netns(&planner.plan(), "side"), "web~2");
}

/// The network namespace a node's process is in.
fn netns(plan: &Plan, name: &str) -> String {
    let of = |i: &Item| match &i.object {
        Object::Process(p) if p.node.as_str() == name => Some(p.namespaces[&NsKind::Network].to_string()),
        _ => None,
    };
    plan.items.iter().find_map(of).unwrap()
}

#[test]
fn whoever_shared_with_a_replaced_container_is_left_behind_with_its_files() {
    let mut side = container("side", &[]);
    side.network = NetworkMode::Container(ContainerRef { node: node("web"), at: at() });
    let topology = topology(vec![network("front")], vec![container("web", &["front"]), side]);
    let (mut planner, _) = Planner::new(&topology).unwrap();
    let hosts = |plan: &Plan| {
        let of = |i: &Item| match &i.object {
            Object::File(f) if i.ns.as_str() == "side" && f.path == "/etc/hosts" => Some(f.content.clone()),
            _ => None,
        };
        plan.items.iter().find_map(of).unwrap()
    };
    let before = hosts(&planner.plan());
    step(&mut planner, &Change::Replace(node("web")));
    assert_eq!(hosts(&planner.plan()), before);
    assert_eq!(netns(&planner.plan(), "side"), "web");
    step(&mut planner, &Change::Stop(node("side")));
    let refused = planner.change(&Change::Start(node("side"))).unwrap_err();
    assert!(refused.to_string().starts_with("No such container: "), "{refused}");
    step(&mut planner, &Change::Replace(node("side")));
    assert_eq!(netns(&planner.plan(), "side"), netns(&planner.plan(), "web"));
}

#[test]
fn whoever_joined_a_guest_s_processes_lives_as_long_as_their_owner() {
    let joins = |name: &str, donor: &str| {
        let pid = PidMode::Container(ContainerRef { node: node(donor), at: at() });
        seatrial_core::topology::Container { pid, ..container(name, &["front"]) }
    };
    let containers = vec![container("base", &["front"]), joins("guest", "base"), joins("second", "guest")];
    let (mut planner, _) = Planner::new(&topology(vec![network("front")], containers)).unwrap();
    let runs = |planner: &Planner, name: &str| {
        let is = |i: &Item| matches!(&i.object, Object::Process(p) if p.node.as_str() == name);
        planner.plan().items.iter().any(is)
    };
    step(&mut planner, &Change::Stop(node("guest")));
    assert!(!runs(&planner, "guest") && runs(&planner, "second") && runs(&planner, "base"));
    step(&mut planner, &Change::Stop(node("base")));
    assert!(!runs(&planner, "second"), "it died with the init of the PID namespace");
}
