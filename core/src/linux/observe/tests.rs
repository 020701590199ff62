//! What the kernel tells becomes objects; what a plan has no word for is named.

use std::net::IpAddr;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteMessage, RouteNextHop, RouteProtocol, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};
use netlink_packet_sock_diag::inet::nlas::Nla;
use netlink_packet_sock_diag::inet::{InetResponse, InetResponseHeader, SocketId};

use super::network::objects;
use super::{Item, NsName, Seen, Unknown};
use super::{life, mounts, ruleset, socket};
use crate::addr::Family;
use crate::linux::net::Told;

fn ns(name: &str) -> NsName {
    NsName::from(name)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A device that is up.
fn link(index: u32, name: &str, kind: Option<InfoKind>) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.header.flags = LinkFlags::Up;
    link.attributes = vec![LinkAttribute::IfName(name.to_owned())];
    link.attributes.extend(kind.map(|kind| LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)])));
    link
}

/// One end of a cable.
fn end(index: u32, name: &str, there: u32, number: Option<i32>) -> LinkMessage {
    let mut end = link(index, name, Some(InfoKind::Veth));
    end.attributes.push(LinkAttribute::Link(there));
    end.attributes.extend(number.map(LinkAttribute::LinkNetNsId));
    end
}

fn told_of(told: &[(NsName, Told)]) -> (Vec<Item>, Vec<Unknown>) {
    let mut seen = Seen::default();
    objects(told, false, &mut seen);
    (seen.items, seen.unknown)
}

/// The text of what is told of a namespace `a` with a bridge `br0`, and of all that is unknown.
fn read(mut told: Told) -> (Vec<String>, Vec<String>) {
    told.links.push(link(1, "br0", Some(InfoKind::Bridge)));
    let (items, unknown) = told_of(&[(ns("a"), told)]);
    let text = |item: &Item| item.to_string().replace("ip -n a ", "");
    let rest = |text: &String| !text.contains("type bridge") && text != "link set dev br0 up";
    (items.iter().map(text).filter(rest).collect(), unknown.iter().map(ToString::to_string).collect())
}

fn route(attributes: Vec<RouteAttribute>) -> RouteMessage {
    let mut route = RouteMessage::default();
    route.header.address_family = AddressFamily::Inet;
    route.header.destination_prefix_length = 24;
    route.header.table = 254;
    route.header.kind = RouteType::Unicast;
    route.attributes = vec![RouteAttribute::Destination(ip("10.0.0.0").into())];
    route.attributes.extend(attributes);
    route
}

fn rule(priority: u32, attributes: Vec<RuleAttribute>) -> RuleMessage {
    let mut rule = RuleMessage::default();
    rule.header.family = AddressFamily::Inet;
    rule.header.action = RuleAction::ToTable;
    rule.header.table = 254;
    rule.attributes = vec![RuleAttribute::Priority(priority)];
    rule.attributes.extend(attributes);
    rule
}

#[test]
fn ends_of_a_cable_find_each_other_by_the_numbers_of_their_namespaces() {
    let a =
        Told { links: vec![end(2, "eth0", 7, Some(5))], others: [(5, ns("b"))].into(), ..Told::default() };
    let b =
        Told { links: vec![end(7, "veth1", 2, Some(0))], others: [(0, ns("a"))].into(), ..Told::default() };
    let (items, unknown) = told_of(&[(ns("b"), b), (ns("a"), a)]);
    let text: Vec<String> = items.iter().map(ToString::to_string).collect();
    assert_eq!(
        text,
        [
            "ip -n b link set dev veth1 up",
            "ip -n a link add name eth0 type veth peer name veth1 netns b",
            "ip -n a link set dev eth0 up",
        ]
    );
    assert!(unknown.is_empty());
}

#[test]
fn a_device_that_a_plan_has_no_word_for_is_named() {
    let mut stranger = link(6, "veth2", Some(InfoKind::Veth));
    stranger.attributes.extend([LinkAttribute::Link(9), LinkAttribute::LinkNetNsId(3)]);
    let mut port = link(7, "d0", Some(InfoKind::Dummy));
    port.attributes.push(LinkAttribute::Controller(5));
    let links = vec![
        link(4, "vx0", Some(InfoKind::Vxlan)),
        link(5, "eth0", None),
        stranger,
        port,
        link(8, "a:b", None),
    ];
    let (_, unknown) = read(Told { links, ..Told::default() });
    let unseen = "its other end or its parent is in a namespace that is not looked at";
    assert_eq!(
        unknown,
        [
            "a: device 'a:b': a plan has no such name".to_owned(),
            "a: device vx0: a plan has no device of kind vxlan".to_owned(),
            "a: device eth0: a plan has no device of kind hardware".to_owned(),
            format!("a: device veth2: {unseen}"),
            "a: device d0: it belongs to eth0, which is no bridge".to_owned(),
        ]
    );
}

#[test]
fn addresses_are_told_in_the_order_in_which_they_were_given() {
    let address = |text: &str, peer: Option<&str>| {
        let mut address = AddressMessage::default();
        address.header.family = ip(text).into();
        address.header.index = 1;
        address.header.prefix_len = 24;
        let other = AddressAttribute::Address(ip(peer.unwrap_or(text)));
        address.attributes = vec![other, AddressAttribute::Local(ip(text))];
        address
    };
    let addresses = ["10.0.0.1", "10.0.0.2", "2001:db8::2", "2001:db8::1"].map(|text| address(text, None));
    let (items, unknown) = read(Told { addresses: addresses.to_vec(), ..Told::default() });
    let given = ["10.0.0.1/24", "10.0.0.2/24", "2001:db8::1/24", "2001:db8::2/24"];
    assert_eq!(items, given.map(|net| format!("addr add {net} dev br0")));
    assert!(unknown.is_empty());
    let (items, unknown) =
        read(Told { addresses: vec![address("10.0.0.1", Some("10.0.0.2"))], ..Told::default() });
    assert!(items.is_empty());
    assert_eq!(unknown, ["a: address 10.0.0.1 on br0: a plan has none with a peer"]);
}

#[test]
fn a_route_is_read_with_its_table_and_metric_unless_they_are_the_usual_ones() {
    let dev = RouteAttribute::Oif(1);
    let mut v6 = route(vec![dev.clone(), RouteAttribute::Priority(1024)]);
    v6.header.address_family = AddressFamily::Inet6;
    v6.attributes[0] = RouteAttribute::Destination(ip("2001:db8::").into());
    let routes = vec![
        route(vec![dev.clone()]),
        route(vec![
            RouteAttribute::Table(1000),
            RouteAttribute::Gateway(ip("10.9.9.9").into()),
            RouteAttribute::Priority(7),
            RouteAttribute::PrefSource(ip("10.9.9.1").into()),
            dev,
        ]),
        v6,
    ];
    let (items, unknown) = read(Told { routes, ..Told::default() });
    assert_eq!(
        items,
        [
            "route add 10.0.0.0/24 dev br0",
            "route add 10.0.0.0/24 via 10.9.9.9 dev br0 table 1000 metric 7 src 10.9.9.1",
            "ip -6 -n a route add 2001:db8::/24 dev br0",
        ]
    );
    assert!(unknown.is_empty());
}

#[test]
fn the_kernels_own_table_and_copies_for_one_packet_are_passed_over() {
    let mut own = route(vec![RouteAttribute::Table(255)]);
    own.header.kind = RouteType::Local;
    own.header.protocol = RouteProtocol::Kernel;
    let mut copy = route(vec![]);
    copy.header.flags = RouteFlags::Cloned;
    let mut multicast = route(vec![]);
    multicast.header.address_family = AddressFamily::Unspec;
    assert_eq!(read(Told { routes: vec![own, copy, multicast], ..Told::default() }), (vec![], vec![]));
}

#[test]
fn a_route_that_a_plan_has_no_word_for_is_named() {
    let mut hole = route(vec![]);
    hole.header.kind = RouteType::BlackHole;
    let mut on_link = route(vec![]);
    on_link.header.flags = RouteFlags::Onlink;
    let two = route(vec![RouteAttribute::MultiPath(vec![RouteNextHop::default(); 2])]);
    let (items, unknown) = read(Told { routes: vec![hole, on_link, two], ..Told::default() });
    assert!(items.is_empty());
    let named = [
        "a type but unicast",
        "a next hop that is on the link whatever its address",
        "more than one next hop",
    ];
    assert_eq!(
        unknown,
        named.map(|what| format!("a: route to 10.0.0.0/24 in table 254: a plan has none with {what}"))
    );
}

#[test]
fn a_policy_rule_is_read_and_one_of_ipv6_is_known_by_its_networks() {
    let mut from = rule(100, vec![RuleAttribute::Source(ip("10.0.0.0")), RuleAttribute::Table(1000)]);
    from.header.src_len = 8;
    let mut v6 = rule(200, vec![RuleAttribute::FwMark(1), RuleAttribute::FwMask(0xff)]);
    v6.header.family = AddressFamily::Inet6;
    let mut not = rule(300, vec![]);
    not.header.flags = RuleFlags::Invert;
    let rules = vec![from, v6, not, rule(400, vec![RuleAttribute::Oifname("br0".to_owned())])];
    let (items, unknown) = read(Told { rules, ..Told::default() });
    assert_eq!(
        items,
        [
            "rule add priority 100 from 10.0.0.0/8 lookup 1000",
            "ip -6 -n a rule add priority 200 from ::/0 fwmark 0x1/0xff lookup 254",
        ]
    );
    let named = [(300, "a 'not'"), (400, "a device that packets leave by")];
    assert_eq!(unknown, named.map(|(n, what)| format!("a: policy rule {n}: a plan has none with {what}")));
}

#[test]
fn of_neighbours_only_the_permanent_ones_are_told() {
    let neighbour = |address: &str, state| {
        let mut neighbour = NeighbourMessage::default();
        neighbour.header.ifindex = 1;
        neighbour.header.state = state;
        neighbour.attributes = vec![
            NeighbourAttribute::Destination(ip(address).into()),
            NeighbourAttribute::LinkLayerAddress(vec![2, 0, 0, 0, 0, 1]),
        ];
        neighbour
    };
    let neighbours = vec![
        neighbour("10.0.0.1", NeighbourState::Permanent),
        neighbour("10.0.0.2", NeighbourState::Reachable),
    ];
    let (items, unknown) = read(Told { neighbours, ..Told::default() });
    assert_eq!(items, ["neigh add 10.0.0.1 lladdr 02:00:00:00:00:01 dev br0 nud permanent"]);
    assert!(unknown.is_empty());
}

#[test]
fn rules_are_read_and_what_the_tool_keeps_to_itself_is_named() {
    let read = |text: &str| {
        let mut seen = Seen::default();
        ruleset::read(&ns("a"), Family::V4, text, &mut seen);
        (seen.items, seen.unknown.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let text = "*filter\n:INPUT DROP [3:180]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n";
    let (items, unknown) = read(text);
    assert!(items[0].to_string().contains(":INPUT DROP"), "{}", items[0]);
    assert!(unknown.is_empty());
    assert_eq!(read("# Generated by iptables-save v1.8.9\n"), (vec![], vec![]));
    let legacy = "# Warning: iptables-legacy tables present, use iptables-legacy-save to see them\n";
    let (_, unknown) = read(legacy);
    assert!(
        unknown[0].starts_with("a: rules of IPv4: Warning: iptables-legacy tables present"),
        "{unknown:?}"
    );
    assert!(read("*filter\n-A NOWHERE -j ACCEPT\nCOMMIT\n").1[0].starts_with("a: rules of IPv4: line 2"));
}

#[test]
fn mounts_of_the_user_are_told_and_those_that_every_container_has_are_not() {
    let mountinfo = "\
60 50 0:40 / / ro,relatime - tmpfs tmpfs rw,mode=755
61 60 0:41 / /proc rw,nosuid - proc proc rw
62 60 0:42 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755
63 62 0:43 / /dev/shm rw,nosuid - tmpfs shm rw,size=65536k
64 60 0:44 /files/web/etc/hosts /etc/hosts rw - tmpfs tmpfs rw
65 60 0:45 / /run/x rw,nosuid master:3 - tmpfs tmpfs rw,size=1024k
66 60 8:1 /volumes/my\\040data /my\\040data ro,relatime shared:7 - ext4 /dev/vda rw
67 60 8:1 /devices /devices rw,relatime - ext4 /dev/vda rw
";
    let root = mounts::root(mountinfo);
    assert!(root.read_only);
    assert_eq!(root.tmpfs, ["/run/x"]);
    let told: Vec<_> =
        root.mounts.iter().map(|m| (m.source.as_deref(), m.target.as_str(), m.read_only)).collect();
    assert_eq!(told, [(Some("/volumes/my data"), "/my data", true), (Some("/devices"), "/devices", false)]);
    assert!(mounts::has_shm(mountinfo));
    assert!(!mounts::has_shm("60 50 0:40 / / ro,relatime - tmpfs tmpfs rw,mode=755\n"));
}

#[test]
fn a_map_of_all_ids_there_are_is_that_of_everything() {
    let map = |text, own| life::map(text, own).map(|m| (m.inside, m.outside, m.count));
    let root = "         0          0 4294967295\n";
    assert_eq!(map(root, root), Some((0, 0, u32::MAX)));
    assert_eq!(map("0 100000 65536\n", root), Some((0, 100_000, 65536)));
    // As an ordinary user sees it, with the ids that /etc/subuid grants.
    let own = "0 1000 1\n1 100000 65536\n";
    assert_eq!(map("0 0 1\n1 1 65536\n", own), Some((0, 0, u32::MAX)));
    assert_eq!(map("0 0 1\n1 5 10\n", own), None);
}

#[test]
fn rights_are_told_as_docker_takes_them() {
    let rights = |bounding: &str, seccomp: &str| {
        let status = format!("Name:\tx\nCapBnd:\t{bounding}\nNoNewPrivs:\t1\nSeccomp:\t{seccomp}\n");
        life::rights(&status, 40).unwrap()
    };
    assert_eq!(rights("00000000a80425fb", "2"), life::Rights::default());
    let other = rights("00000000a80435fa", "2");
    assert_eq!((other.cap_add, other.cap_drop), (vec!["NET_ADMIN".to_owned()], vec!["CHOWN".to_owned()]));
    assert!(rights("000001ffffffffff", "0").privileged);
    assert!(!rights("000001ffffffffff", "2").privileged);
    assert!(!rights("00000000a80425fb", "0").privileged);
    assert_eq!(life::rights("Name:\tx\n", 40), None);
}

/// A socket that is told, and how.
fn address_of(address: &str, port: u16, nla: Option<Nla>) -> Option<IpAddr> {
    let mut id = if address.contains(':') { SocketId::new_v6() } else { SocketId::new_v4() };
    (id.source_address, id.source_port) = (ip(address), port);
    let header = InetResponseHeader {
        family: 10,
        state: 10,
        timer: None,
        socket_id: id,
        recv_queue: 0,
        send_queue: 0,
        uid: 0,
        inode: 7,
    };
    let bound = socket::bound(&InetResponse { header, nlas: nla.into_iter().collect() });
    assert_eq!((bound.inode, bound.port), (7, port));
    bound.address
}

#[test]
fn a_socket_of_both_families_has_no_address() {
    assert_eq!(address_of("::", 80, Some(Nla::SkV6Only(false))), None);
    assert_eq!(address_of("::", 80, Some(Nla::SkV6Only(true))), Some(ip("::")));
    assert_eq!(address_of("0.0.0.0", 80, None), Some(ip("0.0.0.0")));
    assert_eq!(address_of("::1", 80, Some(Nla::SkV6Only(false))), Some(ip("::1")));
}
