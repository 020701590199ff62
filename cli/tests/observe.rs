//! What is made of a plan on this machine's kernel is read back as that plan, but for what the kernel adds.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use seatrial_core::engine::Engine;
use seatrial_core::linux::observe::Observed;
use seatrial_core::linux::observe::adds::ADDS;
use seatrial_core::linux::observe::differ::{Differences, differ};
use seatrial_core::linux::stage::{Launch, Stage};
use seatrial_core::linux::{self, Error};
use seatrial_core::plan::{Item, Object, Plan, PlanOp, check, plan};
use seatrial_core::topology::files::Files;
use seatrial_core::topology::{Topology, compose, trial};

/// This many stages stand at one time: each waits half of its time.
const AT_ONCE: usize = 2;

struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path, _limit: usize) -> io::Result<String> {
        fs::read_to_string(path)
    }
}

/// Every compose file and every trial, in order.
fn fixtures() -> Vec<PathBuf> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
    let mut folders = vec![fixtures.join("compose"), fixtures.join("trials")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    let read = |path: &Path| path.starts_with(fixtures.join("compose")) || says_trial(path);
    files.retain(|path| read(path) && path.extension().is_some_and(|ending| ending == "yaml"));
    files.sort();
    files
}

fn says_trial(path: &Path) -> bool {
    path.to_string_lossy().ends_with(".trial.yaml")
}

fn topology(path: &Path) -> Topology {
    if says_trial(path) {
        return trial::read(path, &Disk, &compose::Options::default()).unwrap().topology;
    }
    let options = compose::Options { directory: "/project".into(), ..compose::Options::default() };
    let project = compose::read(&[path.to_owned()], &Disk, &options).unwrap();
    trial::assume(project, Engine::NEWEST).unwrap()
}

/// Makes all that a plan has, and looks at it.
fn seen(plan: &Plan) -> Result<Observed, Error> {
    let mut stage = Stage::launch(&Launch::of(Path::new(env!("CARGO_BIN_EXE_seatrial")), plan))?;
    stage.apply(plan.items.iter().cloned().map(PlanOp::Add).collect())?;
    stage.observe(plan)
}

/// Makes all that a plan has, looks at it, and says what differs.
fn round_trip(plan: &Plan) -> Result<Differences, Error> {
    let seen = seen(plan)?;
    assert_eq!(check::check(&seen.plan), Ok(()), "{}", seen.plan);
    Ok(differ(plan, &seen))
}

#[test]
fn every_plan_is_read_back_but_for_what_the_kernel_adds() {
    if let Err(missing) = linux::tools() {
        println!("skipped: {missing}");
        return;
    }
    let files = fixtures();
    assert!(files.len() > 100, "only {} fixtures found", files.len());
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push((path, round_trip(&plan(&topology(path)).unwrap())));
        }
        done
    };
    let done: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let (mut differ, mut used, mut skipped) = (String::new(), BTreeSet::new(), 0);
    for (path, came) in &done {
        match came {
            Ok(differences) => {
                used.extend(differences.used.iter().copied());
                if !differences.is_empty() {
                    differ += &format!("{}\n{differences}\n", path.display());
                }
            }
            Err(error) if error.missing => {
                println!("skipped: {}: {error}", path.display());
                skipped += 1;
            }
            Err(error) => differ += &format!("{}: {error}\n", path.display()),
        }
    }
    println!("{} read back, {skipped} skipped", done.len() - skipped);
    assert!(differ.is_empty(), "{differ}");
    let idle: Vec<_> = ADDS.iter().map(|entry| entry.what).filter(|what| !used.contains(what)).collect();
    assert!(idle.is_empty(), "the kernel added none of these: {idle:?}");
    assert!(skipped * 3 < done.len(), "{skipped} of {} skipped", done.len());
}

#[test]
fn nothing_of_a_plan_is_there_unseen() {
    if let Err(missing) = linux::tools() {
        println!("skipped: {missing}");
        return;
    }
    let trials = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/trials");
    for file in ["publish/ipv6-without-proxy.trial.yaml", "compose/nextcloud.trial.yaml"] {
        let plan = plan(&topology(&trials.join(file))).unwrap();
        let seen = seen(&plan).unwrap();
        assert!(differ(&plan, &seen).is_empty());
        let without = |place: usize| {
            let mut less = plan.clone();
            less.items.remove(place);
            less
        };
        let unseen = (0..plan.items.len()).filter(|place| differ(&without(*place), &seen).is_empty());
        // What the kernel would have so in any case, or what is written over.
        let idle = |item: &&Item| matches!(&item.object, Object::Sysctl(_));
        let unseen: Vec<&Item> = unseen.map(|place| &plan.items[place]).filter(|item| !idle(item)).collect();
        assert!(unseen.is_empty(), "{file}: {unseen:?}");
    }
}
