//! A child of the stage that goes where a node is, looks, and says what it saw.

use std::fs::File;
use std::io::{self, Read, Write};
use std::rc::Rc;

use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork, pipe};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::linux::Error;
use crate::linux::node::become_root;
use crate::linux::space::Space;
use crate::probe::NsKind;

/// Does something as root of a node, in its namespaces, but for that of processes: those a child cannot change.
///
/// # Errors
/// Where it cannot go there, or could not do it.
pub(super) fn witness<T: Serialize + DeserializeOwned>(
    spaces: &[Rc<Space>],
    look: impl FnOnce() -> io::Result<T>,
) -> Result<T, Error> {
    let failed = |e: io::Error| Error::new("look at", "a node", &e);
    let (seen, says) = pipe().map_err(|e| failed(e.into()))?;
    // SAFETY: the stage has one thread, so the child finds every lock free; it only looks, writes and ends.
    match unsafe { fork() }.map_err(|e| failed(e.into()))? {
        ForkResult::Child => {
            let saw = go(spaces).and_then(|()| look()).map_err(|e| Error::new("look at", "a node", &e));
            // The stage sees by the silence that it went wrong.
            let said = serde_json::to_vec(&saw).map(|text| File::from(says).write_all(&text));
            // SAFETY: ends this process at once, as a child that is a copy must: nothing of the stage's is undone.
            unsafe { nix::libc::_exit(i32::from(!matches!(said, Ok(Ok(()))))) }
        }
        ForkResult::Parent { child } => {
            drop(says);
            let mut text = Vec::new();
            File::from(seen).read_to_end(&mut text).map_err(failed)?;
            waitpid(child, None).map_err(|e| failed(e.into()))?;
            serde_json::from_slice::<Result<T, Error>>(&text).map_err(|e| failed(e.into()))?
        }
    }
}

/// Users' namespaces come last: there is no way into the others from one that does not own them.
fn go(spaces: &[Rc<Space>]) -> io::Result<()> {
    let of = |kind: NsKind| spaces.iter().filter(move |space| space.kind() == kind);
    let others = spaces.iter().filter(|space| !matches!(space.kind(), NsKind::User | NsKind::Pid));
    others.into_iter().try_for_each(|space| space.enter())?;
    if let Some(user) = of(NsKind::User).next_back() {
        user.enter()?;
        become_root()?;
    }
    Ok(())
}
