//! `seatrial networks` and `seatrial bridges`, in the very form of `docker network ls` and `brctl show`.

use std::collections::BTreeMap;

use seatrial_core::diagnostic::{At, Diagnostic};
use seatrial_core::linux::lab::bridges::{self, Bridge};
use seatrial_core::plan::{ListedNetwork, Planner};
use seatrial_core::topology::NodeName;

use super::{Found, find, node, table};
use crate::args::{Bridges, Input, Networks};
use crate::input;
use crate::output::{Output, Refusal};

/// Lists the networks of a lab's Engine, or of one that would read a file.
pub(crate) fn networks(args: &Networks) -> Result<Output, Refusal> {
    let (all, notes) = match &args.file {
        Some(file) => {
            let subject = input::subject(&Input { file: file.clone() }, &args.options)?;
            (Planner::new(subject.topology()?)?.0.networks(), String::new())
        }
        None => {
            let Found { lab, notes } = find(&args.which)?;
            (lab.record().networks.clone(), notes)
        }
    };
    let rows: Vec<Vec<String>> = of_host(&all, &args.host)?.iter().map(row).collect();
    Ok(Output::answer(table(&["NETWORK ID", "NAME", "DRIVER", "SCOPE"], &rows)).noting(&notes))
}

fn of_host<'a>(
    all: &'a BTreeMap<NodeName, Vec<ListedNetwork>>,
    host: &str,
) -> Result<&'a [ListedNetwork], Refusal> {
    let names: Vec<&str> = all.keys().map(NodeName::as_str).collect();
    all.get(&NodeName::from(host)).map(Vec::as_slice).ok_or_else(|| {
        Diagnostic::new(At::nowhere("--host"), format!("there is no Docker host '{host}'"))
            .expected(format!("one of {}", names.join(", ")))
            .into()
    })
}

/// Every network here is one host's.
fn row(network: &ListedNetwork) -> Vec<String> {
    vec![network.id.clone(), network.name.clone(), network.driver.clone(), "local".to_owned()]
}

/// Lists the bridges of a lab's host.
pub(crate) fn bridges(args: &Bridges) -> Result<Output, Refusal> {
    let Found { lab, notes } = find(&args.which)?;
    let entry = lab.enter(&node(&lab, &args.host)?)?;
    Ok(Output::answer(shown(&bridges::read(&entry)?)).noting(&notes))
}

/// As `brctl show` prints them (bridge-utils, brctl/brctl_cmd.c, show_bridge).
fn shown(bridges: &[Bridge]) -> String {
    let line = |bridge: &Bridge| {
        let stp = if bridge.stp { "yes" } else { "no" };
        let ports = bridge.ports.join("\n\t\t\t\t\t\t\t");
        format!("{}\t\t{}\t{stp}\t\t{ports}\n", bridge.name, bridge.id)
    };
    let lines: String = bridges.iter().map(line).collect();
    format!("bridge name\tbridge id\t\tSTP enabled\tinterfaces\n{lines}")
}
