//! `seatrial down`: labs end, and nothing stays of them.

use std::fmt::Write as _;

use seatrial_core::linux;
use seatrial_core::linux::lab::{self, Lab};
use seatrial_core::linux::state::{self, Berth, LabName, Labs};

use super::{dead, labs, several};
use crate::args::Down;
use crate::output::{Output, Refusal};

/// Takes the labs down that are named, all, or the only one.
pub(crate) fn run(args: &Down) -> Result<Output, Refusal> {
    let labs = labs();
    let names = if args.labs.is_empty() { labs.names()? } else { args.labs.clone() };
    if names.len() > 1 && args.labs.is_empty() && !args.all {
        return Err(several(names.iter()));
    }
    if names.is_empty() {
        labs.tidy();
        return Ok(Output::answer("nothing is up\n".to_owned()));
    }
    let mut said = String::new();
    for name in &names {
        let words = one(&labs, name)?;
        let _ = write!(said, "{words}");
    }
    Ok(Output::answer(said))
}

fn one(labs: &Labs, name: &LabName) -> Result<String, linux::Error> {
    match labs.find(name)? {
        state::Found::Held(berth) => take_down(&berth),
        state::Found::Nothing | state::Found::Busy => Ok(format!("lab {name} is not up\n")),
    }
}

fn take_down(berth: &Berth) -> Result<String, linux::Error> {
    let name = berth.name().clone();
    let nodes = Lab::attach(berth)?.map(|lab| lab.record().nodes().count());
    let left = lab::end(berth)?;
    Ok(match nodes {
        Some(nodes) => {
            format!("lab {name} is down: {nodes} nodes ended, and with them all that was theirs\n")
        }
        None => dead(&name, &left),
    })
}
