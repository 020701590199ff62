//! `seatrial up`: a lab comes up, and stays when this program has ended.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use nix::sys::signal::{SigSet, Signal};
use seatrial_core::addr::Transport;
use seatrial_core::diagnostic::{At, Diagnostic};
use seatrial_core::linux;
use seatrial_core::linux::lab::{self, Lab, Record};
use seatrial_core::linux::stage::Launch;
use seatrial_core::linux::state::{Berth, LabName};
use seatrial_core::plan::{Planner, check};
use seatrial_core::topology::Topology;

use super::{dead, labs, ps, table};
use crate::args::Up;
use crate::input;
use crate::output::{Output, Refusal};
use crate::{assumed, diagnostics, style};

/// This program: the stage and its agents are made of it.
const PROGRAM: &str = "/proc/self/exe";

/// Brings a lab up, unless it is up.
pub(crate) fn run(args: &Up) -> Result<Output, Refusal> {
    let subject = input::subject(&args.input, &args.options)?;
    let topology = subject.topology()?;
    let (planner, plan) = Planner::new(topology)?;
    check::check(&plan).map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        Refusal::Words(format!("the plan is wrong: {}", faults.join("; ")))
    })?;
    let record = Record { files: files(args), plan, networks: planner.networks(), ports: planner.ports() };
    let name = name(args, topology)?;
    let labs = labs();
    let berth = labs.claim(&name)?;
    if let Some(lab) = Lab::attach(&berth)? {
        return standing(&lab, &record);
    }
    let mut notes = String::new();
    if !berth.is_empty()? {
        notes = format!("seatrial: {}", dead(&name, &berth.clear()?));
    }
    bring_up(berth, &record)?;
    let several = labs.names()?.len() > 1;
    let answer = said(&name, &record, several) + &assumed::text(&subject.assumed, style::columns());
    Ok(Output::answer(answer).noting(&notes).noting(&diagnostics::warnings(&subject.warnings)))
}

/// The files it is made of, so that they are told from others wherever they are named from.
fn files(args: &Up) -> Vec<PathBuf> {
    let named = std::iter::once(&args.input.file).chain(&args.options.project.more);
    named.map(|file| file.canonicalize().unwrap_or_else(|_| file.clone())).collect()
}

/// The lab's name: the user's word, or the project's.
fn name(args: &Up, topology: &Topology) -> Result<LabName, Refusal> {
    if let Some(name) = &args.name {
        return Ok(name.clone());
    }
    let project = topology.hosts.first().map(|host| host.project.as_str()).unwrap_or_default();
    project
        .parse()
        .map_err(|e: linux::state::LabNameError| Diagnostic::new(At::nowhere("--name"), e.to_string()).into())
}

/// What is said of a lab that is up already.
fn standing(lab: &Lab, record: &Record) -> Result<Output, Refusal> {
    let name = lab.name();
    let files = |record: &Record| {
        record.files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
    };
    let expected = format!("another --name, or `seatrial down {name}` first");
    if lab.record().files != record.files {
        let found = format!("lab {name} is up already, and was made of {}", files(lab.record()));
        return Err(Diagnostic::new(At::nowhere("--name"), found).expected(expected).into());
    }
    if lab.record() != record {
        let found = format!("lab {name} is up already, and {} says otherwise now", files(record));
        return Err(Diagnostic::new(At::nowhere("FILE"), found).expected(expected).into());
    }
    Ok(Output::answer(format!("lab {name} is up already\n")))
}

fn bring_up(berth: Berth, record: &Record) -> Result<(), Refusal> {
    let guard = Guard::over(berth)?;
    let made = raise(&guard, record);
    if made.is_err() {
        // The first error is the one to tell; what is left of this is found again by its name.
        let _ = guard.berth.remove();
    }
    Ok(made?)
}

fn raise(guard: &Guard, record: &Record) -> Result<(), linux::Error> {
    linux::tools()?;
    let rising = lab::raise(&guard.berth, Launch::of(Path::new(PROGRAM), &record.plan), record)?;
    guard.settle(|berth| rising.settle(berth))
}

/// A lab's folder while the lab comes up: it goes when somebody interrupts that, and the rest with this process.
struct Guard {
    berth: Arc<Berth>,
    /// Whether the lab is up, and the folder its own.
    settled: Arc<Mutex<bool>>,
}

impl Guard {
    /// Blocks the signals that interrupt, and waits for them beside the work. This process has one thread until then.
    fn over(berth: Berth) -> Result<Self, linux::Error> {
        let failed = |e: nix::Error| linux::Error::new("watch over", "signals", &e.into());
        let signals = SigSet::from_iter([Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM]);
        signals.thread_block().map_err(failed)?;
        let (berth, settled) = (Arc::new(berth), Arc::new(Mutex::new(false)));
        let guard = Self { berth: Arc::clone(&berth), settled: Arc::clone(&settled) };
        thread::spawn(move || {
            let Ok(signal) = signals.wait() else { return };
            let settled = settled.lock().unwrap_or_else(PoisonError::into_inner);
            if !*settled {
                // This process ends, with nobody to be told.
                let _ = berth.remove();
            }
            process::exit(128 | signal as i32);
        });
        Ok(guard)
    }

    fn settle(&self, work: impl FnOnce(&Berth) -> Result<(), linux::Error>) -> Result<(), linux::Error> {
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        work(&self.berth)?;
        *settled = true;
        Ok(())
    }
}

/// What stands, and how to look at it.
fn said(name: &LabName, record: &Record, several: bool) -> String {
    let files: Vec<String> = record.files.iter().map(|file| file.display().to_string()).collect();
    let mut out = format!("lab {name} is up: {}\n\n", files.join(", "));
    let row = |process: &seatrial_core::plan::Process| {
        let (addresses, shares) = ps::addresses(record, process);
        let ports = ps::ports(record, process).join(", ");
        vec![process.node.to_string(), ps::shown(&addresses, shares.as_deref()), ports]
    };
    out += &table(&["NODE", "ADDRESSES", "PORTS"], &record.nodes().map(row).collect::<Vec<_>>());
    let lab = if several { format!(" --lab {name}") } else { String::new() };
    let _ = writeln!(out, "\nlook at it");
    for line in hints(record) {
        let _ = writeln!(out, "  seatrial exec{lab} {line}");
    }
    let down = if several { format!(" {name}") } else { String::new() };
    let _ = writeln!(out, "  seatrial ps{lab}\n  seatrial down{down}");
    out
}

/// What may be typed behind `seatrial exec`: a look at a published port, and at a container.
fn hints(record: &Record) -> Vec<String> {
    let mut published = record.ports.values().flatten().filter(|port| port.transport == Transport::Tcp);
    let curl = published.find_map(|port| port.host).map(|host| {
        let at = match host.ip() {
            ip if !ip.is_unspecified() => ip,
            IpAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
            IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
        };
        format!("host -- curl -s http://{}", std::net::SocketAddr::new(at, host.port()))
    });
    let container = record.nodes().find(|process| process.container.is_some());
    let shell = container.map(|process| format!("{} -- ip addr", process.node));
    curl.into_iter().chain(shell).collect()
}
