//! `seatrial snapshot`: this host, as it is.

use std::io::Write as _;
use std::path::Path;

use nix::unistd::geteuid;
use seatrial_core::linux::observe::host;
use seatrial_core::snapshot::Snapshot;
use seatrial_vmtests::docker::named::named;

use crate::args;
use crate::output::{Output, Refusal};

/// Looks at this host, and writes what it sees.
pub(crate) fn run(args: &args::Snapshot) -> Result<Output, Refusal> {
    if !geteuid().is_root() {
        let words = "a snapshot looks into the namespaces of every container, which only root may: sudo seatrial snapshot";
        return Err(Refusal::Words(words.to_owned()));
    }
    let (engine, containers, note) = match named(&args.socket) {
        Ok((engine, containers)) => (Some(engine), containers, String::new()),
        Err(why) => {
            let socket = args.socket.display();
            let note =
                format!("seatrial: the Engine at {socket} was not asked what containers are called: {why}\n");
            (None, Vec::new(), note)
        }
    };
    let snapshot = host::look(&containers, engine)?;
    let text = snapshot.text()?;
    let Some(path) = &args.output else { return Ok(Output::answer(text).noting(&note)) };
    write(path, &text).map_err(|e| Refusal::Words(format!("cannot write {}: {e}", path.display())))?;
    Ok(Output::answer(said(path, &snapshot)).noting(&note))
}

/// The whole file, or none: what stood there stays until all of it is written.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}

fn said(path: &Path, snapshot: &Snapshot) -> String {
    let Snapshot { kernel, plan, unknown, .. } = snapshot;
    let engine =
        snapshot.engine.as_deref().map_or(String::new(), |engine| format!(", Docker Engine {engine}"));
    let unknown: String = unknown.iter().map(|what| format!("  of no account: {what}\n")).collect();
    let path = path.display();
    format!(
        "{path}: Linux {kernel}{engine}, {} objects\n{unknown}seatrial matrix {path} says who reaches whom.\n",
        plan.items.len()
    )
}
