//! What real engines made of a compose file, beside the rules: devices, addresses, routes, files, proxies.
//!
//! Each folder of a captured engine with a `world.txt` is planned from its compose file, and the plan is told in the words
//! of that file. See fixtures/engines/README.md.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one kind of object")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use seatrial_core::addr::Family;
use seatrial_core::plan::{Object, Planner, plan};
use seatrial_core::probe::Change;
use seatrial_core::rules::iptables::save;

use crate::setting::{ENGINES, OUR_ULA, Setting, daemon, engines, folders, name_of, setting, topology};
use crate::told::Told;

#[path = "captured/setting.rs"]
mod setting;
#[path = "captured/told.rs"]
mod told;

/// A capture's sections by name; the lines about names apart.
fn sections(world: &str) -> (BTreeMap<String, Vec<String>>, BTreeMap<String, Vec<String>>) {
    let (mut sections, mut names) = (BTreeMap::new(), BTreeMap::<String, Vec<String>>::new());
    let mut current = String::new();
    for line in world.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            name.clone_into(&mut current);
            sections.insert(current.clone(), Vec::new());
        } else if let Some(rest) = line.strip_prefix("names ") {
            names.entry(current.clone()).or_default().push(rest.to_owned());
        } else if !line.is_empty() && !current.is_empty() {
            let lines: &mut Vec<String> = sections.get_mut(&current).unwrap();
            lines.push(line.to_owned());
        }
    }
    (sections, names)
}

/// The captured text with our own random bits in place of the engine's.
fn masked(captured: &str, setting: &Setting) -> String {
    match &setting.ula {
        Some(prefix) => captured.replace(prefix, OUR_ULA),
        None => captured.to_owned(),
    }
}

/// Lines that differ, or nothing.
fn differences(what: &str, ours: &[String], captured: &[String]) -> Option<String> {
    if ours == captured {
        return None;
    }
    let mut text = format!("{what}:\n");
    let only = |a: &[String], b: &[String]| a.iter().filter(|l| !b.contains(l)).cloned().collect::<Vec<_>>();
    only(captured, ours).iter().for_each(|l| writeln!(text, "  engine: {l}").unwrap());
    only(ours, captured).iter().for_each(|l| writeln!(text, "  plan:   {l}").unwrap());
    if text.lines().count() == 1 {
        writeln!(text, "  the same lines in another order: {ours:#?}").unwrap();
    }
    Some(text)
}

/// What is wrong in any folder of any engine that has a file.
fn wrong(file: &str, of: impl Fn(&str, &Path) -> Vec<String>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (engine, release) in ENGINES {
        for folder in folders(engine, file) {
            wrong.extend(of(release, &folder).into_iter().map(|w| format!("{release}: {w}")));
        }
    }
    wrong
}

#[test]
fn a_plan_is_what_the_engine_made() {
    assert!(ENGINES.iter().all(|(engine, _)| folders(engine, "world.txt").len() >= 30));
    let wrong = wrong("world.txt", scenario);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// 27's sources differ in what they keep rules for by themselves, and in the neighbours that DNAT leaves to docker-proxy
/// (libnetwork/drivers/bridge/port_mapping_linux.go: `setPerPortNAT`); gateway modes are new, and not in these.
#[test]
fn rules_of_27_are_those_that_26_keeps_when_it_is_told_to() {
    let mut wrong = Vec::new();
    for name in ["c-publish", "g-internal", "i-v6-dual", "i3-v6-only", "i5-v6-internal"] {
        let folder = engines().join("26.1").join(format!("{name}-ip6tables"));
        let mut setting = setting(&fs::read_to_string(folder.join("world.txt")).unwrap());
        setting.daemon.ip6tables = None;
        let topology = topology("27", &folder, &setting);
        let plan = plan(&topology).unwrap();
        let told = Told { topology: &topology, plan: &plan };
        for (tool, before) in [("iptables", None), ("ip6tables", Some("-A DOCKER ! -s fe80::/10 "))] {
            let captured = fs::read_to_string(folder.join(format!("{tool}-save.txt"))).unwrap();
            let of_27 = |line: &str| match before.filter(|_| line.contains("-j DNAT")) {
                Some(before) => line.replace("-A DOCKER ", before),
                None => line.to_owned(),
            };
            let captured: String = captured.lines().map(|l| of_27(l) + "\n").collect();
            wrong.extend(rules_are(&captured, tool, name, &told, &setting, name.starts_with('g')));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_the_engine_refused_is_refused_in_its_words() {
    let wrong = wrong("refused.txt", |release, folder| {
        let refused = fs::read_to_string(folder.join("refused.txt")).unwrap();
        let (name, words) =
            (name_of(folder), refused.trim().trim_start_matches("Error response from daemon: "));
        if let Some(key) = words.strip_prefix("following directives don't match any configuration option: ") {
            return by_daemon_json(release, &name, key).into_iter().collect();
        }
        match plan(&topology(release, folder, &setting(""))) {
            Ok(_) => vec![format!("{name}: planned")],
            Err(e) if e.to_string().contains(words) => Vec::new(),
            Err(e) => vec![format!("{name}: {e}, not '{words}'")],
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Where an engine that does not know a key of `daemon.json` would be planned.
fn by_daemon_json(release: &str, name: &str, key: &str) -> Option<String> {
    let world = fs::read_to_string(engines().join("28.5").join(name).join("world.txt")).unwrap();
    let json = world.lines().next().unwrap().strip_prefix("daemon-json ").unwrap();
    match daemon(release, json) {
        Ok(_) => Some(format!("{name}: planned")),
        Err(e) if e.to_string().contains(&format!("has no '{key}'")) => None,
        Err(e) => Some(format!("{name}: {e}")),
    }
}

fn scenario(release: &str, folder: &Path) -> Vec<String> {
    let world = fs::read_to_string(folder.join("world.txt")).unwrap();
    let setting = setting(&world);
    let world = masked(&world, &setting);
    let topology = topology(release, folder, &setting);
    let plan = plan(&topology).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let told = Told { topology: &topology, plan: &plan };
    let (mut captured, names) = sections(&world);
    let name = name_of(folder);
    let mut wrong = Vec::new();
    let host = captured.get_mut("host").unwrap();
    if told.publishes_at_random() {
        let first = host.iter().position(|l| l.starts_with("proxy") || l.starts_with("held"));
        host[first.unwrap()..].sort();
    }
    wrong.extend(differences(&format!("{name}: host"), &told.host(), host));
    for item in &plan.items {
        let Object::Process(process) = &item.object else { continue };
        let Some(container) = &process.container else { continue };
        let Some(expected) = captured.get(container) else { continue };
        wrong.extend(differences(&format!("{name}: {container}"), &told.container(process), expected));
        wrong.extend(names.get(container).into_iter().flatten().flat_map(|n| told.unresolved(process, n)));
    }
    wrong.extend(rules(folder, &name, &told, &setting));
    wrong
}

/// The rules, where the capture has them; where containers joined several networks only which they are: the order in
/// which they did is random.
fn rules(folder: &Path, name: &str, told: &Told<'_>, setting: &Setting) -> Vec<String> {
    let several = told.plan.items.iter().any(|i| match &i.object {
        Object::Process(process) => told.devices(process).len() > 1,
        _ => false,
    });
    let several = several || told.publishes_at_random();
    let saved = |tool: &str| folder.join(format!("{tool}-save.txt"));
    let there = ["iptables", "ip6tables"].into_iter().filter(|tool| saved(tool).exists());
    there.filter_map(|tool| rules_of(tool, &saved(tool), name, told, setting, several)).collect()
}

fn rules_of(
    tool: &str,
    file: &Path,
    name: &str,
    told: &Told<'_>,
    setting: &Setting,
    sort: bool,
) -> Option<String> {
    rules_are(&fs::read_to_string(file).unwrap(), tool, name, told, setting, sort)
}

fn rules_are(
    captured: &str,
    tool: &str,
    name: &str,
    told: &Told<'_>,
    setting: &Setting,
    sort: bool,
) -> Option<String> {
    let family = if tool == "iptables" { Family::V4 } else { Family::V6 };
    let captured = masked(captured, setting);
    let rename =
        |text: String, (name, device): &(String, String)| text.replace(device, &format!("br-{{{name}}}"));
    let captured = setting.made.iter().fold(captured, rename);
    let ours = told.of("dockhost").find_map(|i| match &i.object {
        Object::Rules(r) if r.family == family => Some(save(r)),
        _ => None,
    });
    let lines = |t: String| {
        let mut lines: Vec<String> = t.lines().map(str::to_owned).collect();
        if sort {
            lines.sort();
        }
        lines
    };
    let (ours, captured) = (lines(told.norm(&ours.unwrap_or_default())), lines(captured));
    differences(&format!("{name}: {tool}"), &ours, &captured)
}

#[test]
fn changes_leave_what_the_engine_left() {
    assert!(ENGINES.iter().all(|(engine, _)| folders(engine, "steps.txt").len() == 2));
    let wrong = wrong("steps.txt", steps);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn steps(release: &str, folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("steps.txt")).unwrap();
    let setting = setting(&text);
    let topology = topology(release, folder, &setting);
    let (mut planner, _) = Planner::new(&topology).unwrap();
    let mut wrong = Vec::new();
    for line in text.lines().skip_while(|l| !l.is_empty()).skip(1) {
        let words: Vec<&str> = line.split(' ').collect();
        let change = match words.as_slice() {
            ["stop", node] => Change::Stop((*node).into()),
            ["start", node] => Change::Start((*node).into()),
            ["replace", node] => Change::Replace((*node).into()),
            ["connect", node, network] => Change::Connect((*node).into(), (*network).to_owned()),
            ["disconnect", node, network] => Change::Disconnect((*node).into(), (*network).to_owned()),
            ["expect", step] => {
                let plan = planner.plan();
                let told = Told { topology: &topology, plan: &plan };
                for tool in ["iptables", "ip6tables"] {
                    let file = folder.join(format!("{tool}-save.{step}.txt"));
                    wrong.extend(rules_of(tool, &file, step, &told, &setting, told.publishes_at_random()));
                }
                continue;
            }
            _ => panic!("what is '{line}'?"),
        };
        planner.change(&change).unwrap_or_else(|e| panic!("{line}: {e}"));
    }
    wrong
}
