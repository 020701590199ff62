//! Virtual machines, one for each kernel, each of which serves all trials; some run at one time.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use seatrial_core::topology::trial::{Lane, Trial};

use super::vm::{Elsewhere, Lost};
use super::{LaneMissing, Means, Ran, on, spread};
use crate::kernels::{self, Kernel};
use crate::report::{Column, Machine, Up};

/// What came of one kernel.
pub(super) struct Served {
    pub(super) machine: Machine,
    pub(super) ran: Vec<Ran>,
}

/// Runs trials on every kernel that is wanted. What is asked of one that does not come up fails.
///
/// # Errors
/// Kernels of which none comes up.
pub(super) fn run(trials: &[Trial], means: &Means) -> Result<Vec<(Column, Served)>, LaneMissing> {
    let missing = |why| LaneMissing { lane: Lane::Vm, why };
    let kernels = kernels::find(&means.kernels).map_err(|e| missing(e.to_string()))?;
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        while let Some(kernel) = kernels.get(next.fetch_add(1, Ordering::Relaxed)) {
            let column = Column { lane: Lane::Vm, kernel: Some(kernel.version) };
            done.push((column, serve(trials, kernel, means)));
        }
        done
    };
    let done: Vec<_> = thread::scope(|scope| {
        let berths = means.machines.get().min(kernels.len());
        let workers: Vec<_> = (0..berths).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|w| w.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    let lost: Vec<&str> =
        done.iter().filter_map(|(_, served)| served.machine.as_ref().err()).map(String::as_str).collect();
    if lost.len() == done.len() { Err(missing(lost.join("\n"))) } else { Ok(done) }
}

/// Boots a kernel, and runs trials on it.
#[expect(clippy::disallowed_methods, reason = "how long a kernel takes is of interest")]
fn serve(trials: &[Trial], kernel: &Kernel, means: &Means) -> Served {
    let began = Instant::now();
    match Elsewhere::boot(kernel, &means.program, means.timeout) {
        Ok(elsewhere) => {
            let up = Instant::now();
            let ran = spread(trials, means.jobs, |trial| on(trial, &elsewhere));
            let hello = elsewhere.hello();
            let (release, refused) = (hello.release.clone(), hello.refused.clone());
            let machine = Up { release, boot: up - began, served: up.elapsed(), refused };
            Served { machine: Ok(machine), ran }
        }
        Err(why) => {
            let lost = Lost(kernel.version);
            let ran = trials.iter().map(|trial| on(trial, &lost)).collect();
            Served { machine: Err(why.to_string()), ran }
        }
    }
}
