//! Labs: a topology that is alive, and what is done with it.

use std::env;
use std::path::PathBuf;

use seatrial_core::diagnostic::{At, Diagnostic, nearest};
use seatrial_core::linux;
use seatrial_core::linux::lab::{Lab, Seen, look};
use seatrial_core::linux::state::{LabName, Labs};
use seatrial_core::topology::NodeName;

use crate::args::WhichLab;
use crate::output::Refusal;

mod down;
mod exec;
mod list;
mod ps;
mod up;

pub(crate) use down::run as down;
pub(crate) use exec::run as exec;
pub(crate) use list::{bridges, networks};
pub(crate) use ps::run as ps;
pub(crate) use up::run as up;

/// Where this user's labs are.
fn labs() -> Labs {
    Labs::of(env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).as_deref())
}

/// A lab that is up, and what there is to say of those that were found dead on the way.
struct Found {
    lab: Lab,
    notes: String,
}

/// The lab that is meant: the one that is named, or the only one.
fn find(which: &WhichLab) -> Result<Found, Refusal> {
    let labs = labs();
    if let Some(name) = &which.lab {
        return match look(&labs, name, true)? {
            Seen::Up(lab) => Ok(Found { lab: *lab, notes: String::new() }),
            Seen::Dead(left) => Err(Refusal::Words(dead(name, &left).trim_end().to_owned())),
            Seen::Nothing | Seen::Busy => Err(no_lab(&labs, name)?),
        };
    }
    let (mut up, mut notes) = (Vec::new(), String::new());
    for name in labs.names()? {
        match look(&labs, &name, true)? {
            Seen::Up(lab) => up.push(*lab),
            Seen::Dead(left) => notes += &format!("seatrial: {}", dead(&name, &left)),
            Seen::Nothing | Seen::Busy => {}
        }
    }
    match (up.pop(), up.is_empty()) {
        (Some(lab), true) => Ok(Found { lab, notes }),
        (Some(last), false) => Err(several(up.iter().chain([&last]).map(Lab::name))),
        (None, _) => Err(Diagnostic::new(At::nowhere("--lab"), format!("no lab is up{}", also(&notes)))
            .expected("one: `seatrial up FILE` brings it up")
            .into()),
    }
}

fn also(notes: &str) -> String {
    if notes.is_empty() { String::new() } else { format!("; {}", notes.trim_end()) }
}

fn several<'a>(names: impl Iterator<Item = &'a LabName>) -> Refusal {
    let names: Vec<&str> = names.map(LabName::as_str).collect();
    let found = Diagnostic::new(At::nowhere("--lab"), "several labs are up");
    found.expected(format!("the name of one: {}", names.join(", "))).into()
}

fn no_lab(labs: &Labs, name: &LabName) -> Result<Refusal, linux::Error> {
    let names = labs.names()?;
    let names: Vec<&str> = names.iter().map(LabName::as_str).collect();
    let wrong = Diagnostic::new(At::nowhere("--lab"), format!("there is no lab '{name}'"));
    Ok(match (nearest(name.as_str(), names.iter().copied()), names.is_empty()) {
        (Some(near), _) => wrong.expected(format!("'{near}'")),
        (None, false) => wrong.expected(format!("one of {}", names.join(", "))),
        (None, true) => wrong.expected("one that is up: `seatrial up FILE` brings it up"),
    }
    .into())
}

/// What is said of a lab that was found dead.
fn dead(name: &LabName, left: &[String]) -> String {
    let left = if left.is_empty() { "an empty folder".to_owned() } else { left.join(", ") };
    format!("lab {name} was no longer alive, or never came up; removed what was left of it: {left}\n")
}

/// The node that is meant, where the lab has it.
fn node(lab: &Lab, name: &str) -> Result<NodeName, Refusal> {
    let nodes: Vec<&NodeName> = lab.record().nodes().map(|process| &process.node).collect();
    if let Some(node) = nodes.iter().find(|node| node.as_str() == name) {
        return Ok((*node).clone());
    }
    let names: Vec<&str> = nodes.iter().map(|node| node.as_str()).collect();
    let wrong =
        Diagnostic::new(At::nowhere("NODE"), format!("there is no node '{name}' in lab {}", lab.name()));
    let near = nearest(name, names.iter().copied()).map(|near| format!("'{near}', "));
    Err(wrong.expected(format!("{}one of {}", near.unwrap_or_default(), names.join(", "))).into())
}

/// Rows in columns, as Docker prints them (docker/cli, cli/command/formatter/tabwriter: at least 10 wide, 3 apart).
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let lines: Vec<&Vec<String>> = std::iter::once(&head).chain(rows).collect();
    let wide = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| crate::style::width(cell) + 3).max().unwrap_or(0).max(10)
    };
    let widths: Vec<usize> = (0..head.len()).map(wide).collect();
    let line = |cells: &&Vec<String>| {
        let cells: String =
            cells.iter().zip(&widths).map(|(cell, wide)| crate::style::pad(cell, *wide)).collect();
        format!("{}\n", cells.trim_end())
    };
    lines.iter().map(line).collect()
}
