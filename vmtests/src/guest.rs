//! The first process of a virtual machine: it makes the machine habitable, and sets stages on it as it is told.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::utsname::uname;
use nix::unistd::{chdir, chroot};
use seatrial_core::linux::Error;
use seatrial_core::linux::net::hand_over;
use seatrial_core::linux::request::{Among, Answer, Request};
use seatrial_core::linux::stage::{Launch, Stage};
use seatrial_core::plan::{Plan, PlanOp};

use crate::channel::{Hello, Order, PORT, What, Word};
use crate::initramfs::{MODULES, SIGNATURES};
use crate::qemu::lock;

mod run;
mod wake;

/// What the kernel calls the first process of an initramfs (Documentation/filesystems/ramfs-rootfs-initramfs.rst).
const INIT: &str = "/init";
/// This program: stages and agents are made of it.
const PROGRAM: &str = "/proc/self/exe";
/// The file systems of a machine, in the order they are mounted.
const MOUNTS: [(&str, &str); 8] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("tmpfs", "/dev/shm"),
    ("devpts", "/dev/pts"),
    ("tmpfs", "/run"),
    ("tmpfs", "/tmp"),
    ("cgroup2", "/sys/fs/cgroup"),
];
/// The network devices of the machine.
const DEVICES: &str = "/sys/class/net";
/// How often the port is looked for, and how long is waited between: a device may come up late.
const LOOKS: u32 = 100;
const BETWEEN: Duration = Duration::from_millis(20);

/// To be called first thing in `main`, behind [`seatrial_core::linux::entry()`]: where this process is the first of a
/// virtual machine it stays so, and the machine goes with it.
#[must_use]
pub fn entry() -> Option<ExitCode> {
    if process::id() != 1 || env::args_os().next().as_deref() != Some(OsStr::new(INIT)) {
        return None;
    }
    if let Err(error) = live() {
        // The console is all there is to say it to.
        let _ = writeln!(io::stderr(), "seatrial: the guest cannot go on: {error}");
    }
    let refused = reboot(RebootMode::RB_POWER_OFF);
    let _ = writeln!(io::stderr(), "seatrial: the guest cannot be switched off: {refused:?}");
    Some(ExitCode::FAILURE)
}

fn live() -> io::Result<()> {
    settle()?;
    let refused = load()?;
    let port = port()?;
    let release = uname()?.release().to_string_lossy().into_owned();
    let port = Port(Arc::new(Mutex::new(port.try_clone()?)), port);
    let hello = Hello { release, refused, own: None };
    port.say(&ready(&hello)?)?;
    serve(port, &hello)
}

/// Nothing can be put in the place of the first root there is (man 2 pivot_root): the machine gets one on top of it.
fn settle() -> io::Result<()> {
    let (none, root) = (None::<&str>, "/sysroot");
    mount(Some("/"), root, none, MsFlags::MS_BIND, none)?;
    chdir(root)?;
    mount(Some("."), "/", none, MsFlags::MS_MOVE, none)?;
    chroot(".")?;
    chdir("/")?;
    for (kind, place) in MOUNTS {
        fs::create_dir_all(place)?;
        mount(Some(kind), place, Some(kind), MsFlags::empty(), none)
            .map_err(|e| io::Error::new(io::Error::from(e).kind(), format!("cannot mount {place}: {e}")))?;
    }
    Ok(())
}

/// Loads the modules; says which would not be.
fn load() -> io::Result<Vec<String>> {
    let mut paths = fs::read_dir(MODULES)?.map(|e| e.map(|e| e.path())).collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    let mut refused = Vec::new();
    for path in paths {
        let insert =
            || finit_module(File::open(&path)?, c"", ModuleInitFlags::empty()).map_err(io::Error::from);
        let came = insert().or_else(|e| match e.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOKEY | Errno::EKEYREJECTED | Errno::EBADMSG) => sign(&path).and_then(|()| insert()),
            Some(Errno::EEXIST) => Ok(()),
            Some(_) | None => Err(e),
        });
        if let Err(e) = came {
            refused.push(format!("{}: {e}", name(&path)));
        }
        fs::remove_file(&path)?;
    }
    Ok(refused)
}

/// Puts a module's signature back behind it, for a kernel that insists on one (CONFIG_MODULE_SIG_FORCE). Others are spared
/// it: to verify eighty takes an emulated processor a second.
fn sign(path: &Path) -> io::Result<()> {
    let signature = fs::read(Path::new(SIGNATURES).join(path.file_name().unwrap_or_default()))?;
    File::options().append(true).open(path)?.write_all(&signature)
}

/// `nf_nat` of `/modules/017-nf_nat.ko`.
fn name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.split_once('-').map_or(stem.as_ref(), |(_, name)| name).to_owned()
}

/// The port to the host: of all virtio ports that one which bears its name.
#[expect(clippy::disallowed_methods, reason = "nothing tells of a device here: there is no udev")]
fn port() -> io::Result<File> {
    for _ in 0..LOOKS {
        if let Some(device) = device() {
            return File::options().read(true).write(true).open(Path::new("/dev").join(device));
        }
        thread::sleep(BETWEEN);
    }
    Err(io::Error::other("there is no port to the host: virtio_pci and virtio_console are needed"))
}

fn device() -> Option<PathBuf> {
    let ports = fs::read_dir("/sys/class/virtio-ports").ok()?;
    let mut ports = ports.filter_map(|port| Some(port.ok()?.path()));
    let port = ports.find(|port| fs::read_to_string(port.join("name")).is_ok_and(|n| n.trim() == PORT))?;
    port.file_name().map(PathBuf::from)
}

/// The way to the host: for all to write, for one to read.
struct Port(Arc<Mutex<File>>, File);

impl Port {
    fn say(&self, word: &Word) -> io::Result<()> {
        say(&self.0, word)
    }
}

fn say(port: &Mutex<File>, word: &Word) -> io::Result<()> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    lock(port).write_all(&line)
}

/// What it is, and what time and chance it has now.
fn ready(hello: &Hello) -> io::Result<Word> {
    Ok(Word::Ready(Hello { own: Some(wake::own()?), ..hello.clone() }))
}

/// Does what it is told until the host has gone.
fn serve(Port(out, read): Port, hello: &Hello) -> io::Result<()> {
    let mut stages: BTreeMap<u64, Sender<What>> = BTreeMap::new();
    let mut input: Option<Sender<Vec<u8>>> = None;
    for line in BufReader::new(read).lines() {
        let (stage, what) = match serde_json::from_str(&line?)? {
            Order::Stage { stage, what } => (stage, what),
            Order::Run(order) => {
                let (sender, heard) = mpsc::channel();
                let out = Arc::clone(&out);
                thread::spawn(move || run::run(&order, heard, &out));
                input = Some(sender);
                continue;
            }
            Order::Input(bytes) => {
                // One that has ended reads no more.
                let _ = input.as_ref().map(|input| input.send(bytes));
                continue;
            }
            Order::Wake(order) => {
                wake::wake(&order)?;
                say(&out, &ready(hello)?)?;
                continue;
            }
        };
        match what {
            What::Set { plan, among } => {
                let (sender, orders) = mpsc::channel();
                let out = Arc::clone(&out);
                thread::spawn(move || attend(stage, &plan, among, &orders, &out));
                stages.insert(stage, sender);
            }
            // The channel ends, and with it the stage.
            What::End => drop(stages.remove(&stage)),
            What::Apply(_) | What::Ask(_) => {
                // One that could not be set has said so, and hears nothing more.
                let _ = stages.get(&stage).map(|orders| orders.send(what));
            }
        }
    }
    Ok(())
}

/// Sets one stage and does with it what is ordered, until no more can be.
fn attend(
    number: u64,
    plan: &Plan,
    among: Option<Among>,
    orders: &Receiver<What>,
    out: &Mutex<File>,
) -> io::Result<()> {
    let said = |said| say(out, &Word::Said { stage: number, said });
    let mut stage = match set(plan, among) {
        Ok(stage) => stage,
        Err(error) => return said(Err(error)),
    };
    said(Ok(Vec::new()))?;
    for order in orders {
        said(done(&mut stage, order))?;
    }
    Ok(())
}

fn set(plan: &Plan, among: Option<Among>) -> Result<Stage, Error> {
    let mut stage = Stage::launch(&Launch::of(Path::new(PROGRAM), plan))?;
    if let Some(among) = among {
        give_nics(&stage)?;
        stage.order(Request::Among(among))?;
    }
    stage.apply(plan.items.iter().cloned().map(PlanOp::Add).collect())?;
    Ok(stage)
}

/// Gives a stage what leads out of this machine: devices that are some hardware's.
fn give_nics(stage: &Stage) -> Result<(), Error> {
    let failed = |e: io::Error| Error::new("hand over", "the machine's NICs", &e);
    let network = stage.network().map_err(failed)?;
    for entry in fs::read_dir(DEVICES).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(name) = name.filter(|_| entry.path().join("device").exists()) {
            hand_over(&name, &network)?;
        }
    }
    Ok(())
}

fn done(stage: &mut Stage, order: What) -> Result<Vec<Answer>, Error> {
    match order {
        What::Apply(operations) => stage.apply(operations).map(|()| Vec::new()),
        What::Ask(requests) => stage.ask_all(requests),
        What::Set { .. } | What::End => Ok(Vec::new()),
    }
}
