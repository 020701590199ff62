//! Virtual machines, one for each kernel, each of which serves all trials; some run at one time.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use seatrial_core::topology::trial::{Lane, Trial};

use super::apart::Apart;
use super::vm::{Elsewhere, Lost};
use super::{LaneMissing, Means, Ran, on, spread};
use crate::kernels::{self, Kernel};
use crate::qemu::{Accel, Boot, Extras, Kit, kvm_may_run, lock};
use crate::report::{Column, Machine, Up};

/// How long a machine that the processor itself runs may take to come up, before it is taken for one that hangs.
const PROBE: Duration = Duration::from_secs(10);

/// What came of one kernel.
pub(super) struct Served {
    pub(super) machine: Machine,
    pub(super) ran: Vec<Ran>,
    came_up: bool,
}

impl Served {
    /// Why the kernel never came up.
    fn never_up(&self) -> Option<&str> {
        if self.came_up { None } else { self.machine.as_ref().err().map(String::as_str) }
    }
}

/// Runs trials on every kernel that is wanted. What is asked of one that does not come up fails.
///
/// # Errors
/// Kernels of which none comes up.
pub(super) fn run(trials: &[Trial], means: &Means) -> Result<Vec<(Column, Served)>, LaneMissing> {
    let missing = |why| LaneMissing { lane: Lane::Vm, why };
    let kernels = kernels::find(&means.kernels).map_err(|e| missing(e.to_string()))?;
    let accel = choose(&kernels, means);
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        while let Some(kernel) = kernels.get(next.fetch_add(1, Ordering::Relaxed)) {
            let column = Column { kernel: Some(kernel.version), ..Column::from(Lane::Vm) };
            done.push((column, serve(trials, kernel, &accel, means)));
        }
        done
    };
    let done: Vec<_> = thread::scope(|scope| {
        let berths = means.machines.get().min(kernels.len());
        let workers: Vec<_> = (0..berths).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|w| w.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    let lost: Vec<&str> = done.iter().filter_map(|(_, served)| served.never_up()).collect();
    if lost.len() == done.len() { Err(missing(lost.join("\n"))) } else { Ok(done) }
}

/// What carries machines out, and why it is not the processor.
pub(super) type Chosen = (Accel, Option<String>);

/// What was asked for; where nobody asks, the processor, once a first kernel has come up on it.
pub(super) fn choose(kernels: &[Kernel], means: &Means) -> Chosen {
    if let Some(accel) = means.accel {
        return (accel, None);
    }
    let tried = kvm_may_run().and_then(|()| match kernels {
        [kernel, ..] => {
            let boot = boot(kernel, Accel::Kvm, means);
            let kit = Kit::gather(Boot { limit: PROBE.min(means.timeout), keep: None, ..boot })?;
            Elsewhere::start(&kit).map(drop)
        }
        [] => Ok(()),
    });
    match tried {
        Ok(()) => (Accel::Kvm, None),
        Err(why) => {
            let why = why.to_string();
            (Accel::Tcg, Some(why.lines().next().unwrap_or_default().to_owned()))
        }
    }
}

pub(super) fn boot<'a>(kernel: &'a Kernel, accel: Accel, means: &'a Means) -> Boot<'a> {
    Boot {
        kernel,
        program: &means.program,
        limit: means.timeout,
        accel,
        keep: None,
        saved: means.saved.as_deref(),
        extras: Extras::default(),
    }
}

/// Starts a machine, and runs trials on it, or on others like it.
#[expect(clippy::disallowed_methods, reason = "how long a kernel takes is of interest")]
fn serve(trials: &[Trial], kernel: &Kernel, (accel, no_kvm): &Chosen, means: &Means) -> Served {
    let began = Instant::now();
    let keep = means.keep.as_ref().map(|folder| folder.join(kernel.version.to_string()));
    let kit = Kit::gather(Boot { keep: keep.as_deref(), ..boot(kernel, *accel, means) });
    let started = kit.and_then(|kit| Elsewhere::start(&kit).map(|elsewhere| (kit, elsewhere)));
    let (kit, elsewhere) = match started {
        Ok(started) => started,
        Err(why) => {
            let lost = Lost(kernel.version);
            let ran = trials.iter().map(|trial| on(trial, &lost)).collect();
            return Served { machine: Err(why.to_string()), ran, came_up: false };
        }
    };
    let came = Instant::now();
    let (first, mistakes, wired) = (OnceLock::new(), Mutex::new(Vec::new()), OnceLock::new());
    let ran = spread(trials, means.jobs, |trial| {
        let ran = match trial {
            Trial { apart: true, .. } => match wired.get_or_init(|| kit.wired().map_err(|e| e.to_string())) {
                Ok(kit) => on(trial, &Apart::of(kit, &mistakes)),
                Err(why) => lost(trial, &kit, why.clone(), &mistakes),
            },
            Trial { fresh: true, .. } => alone(trial, &kit, &mistakes),
            Trial { .. } => on(trial, &elsewhere),
        };
        let _ = first.set(began.elapsed());
        ran
    });
    let hello = elsewhere.hello();
    let up = Up {
        release: hello.release.clone(),
        accel: *accel,
        no_kvm: no_kvm.clone(),
        restored: elsewhere.restored(),
        remark: kit.remarks(),
        boot: came - began,
        first: first.into_inner().unwrap_or_default(),
        served: came.elapsed(),
        refused: hello.refused.clone(),
    };
    let mistakes = mistakes.into_inner().unwrap_or_else(PoisonError::into_inner);
    let machine = elsewhere.finish().and_then(|()| mistakes.into_iter().next().map_or(Ok(()), Err));
    Served { machine: machine.map(|()| up), ran, came_up: true }
}

/// Runs a trial on a machine of its own. What its kernel says of its own mistakes is put to the others'.
fn alone(trial: &Trial, kit: &Kit<'_>, mistakes: &Mutex<Vec<String>>) -> Ran {
    let put = |mistake| lock(mistakes).push(mistake);
    match Elsewhere::start(kit) {
        Ok(elsewhere) => {
            let ran = on(trial, &elsewhere);
            elsewhere.finish().err().into_iter().for_each(put);
            ran
        }
        Err(why) => lost(trial, kit, why.to_string(), mistakes),
    }
}

/// A trial that has no machine, and why.
fn lost(trial: &Trial, kit: &Kit<'_>, why: String, mistakes: &Mutex<Vec<String>>) -> Ran {
    lock(mistakes).push(why);
    on(trial, &Lost(kit.kernel()))
}
