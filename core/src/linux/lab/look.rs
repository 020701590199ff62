//! A lab is looked for.

use super::Lab;
use crate::linux::Error;
use crate::linux::state::{Found, LabName, Labs};

/// What was seen.
#[derive(Debug)]
pub enum Seen {
    /// It is up.
    Up(Box<Lab>),
    /// It comes up or goes down.
    Busy,
    /// Nobody answered any more: what was left of it has been taken away, by name.
    Dead(Vec<String>),
    /// There is no such lab.
    Nothing,
}

/// Looks for a lab, and takes away what is left of one that is dead. `wait`: until it has come up or gone down.
///
/// # Errors
/// Where it cannot be told.
pub fn look(labs: &Labs, name: &LabName, wait: bool) -> Result<Seen, Error> {
    let found = if wait { labs.visit(name)? } else { labs.glance(name)? };
    match found {
        Found::Nothing => Ok(Seen::Nothing),
        Found::Busy => Ok(Seen::Busy),
        Found::Held(berth) => match Lab::attach(&berth)? {
            Some(lab) => Ok(Seen::Up(Box::new(lab))),
            None => {
                // Others may be looking at it as well.
                drop(berth);
                clear(labs, name)
            }
        },
    }
}

/// Looks once more, alone.
fn clear(labs: &Labs, name: &LabName) -> Result<Seen, Error> {
    let Found::Held(berth) = labs.find(name)? else { return Ok(Seen::Nothing) };
    match Lab::attach(&berth)? {
        Some(lab) => Ok(Seen::Up(Box::new(lab))),
        None => berth.remove().map(Seen::Dead),
    }
}
