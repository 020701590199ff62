//! This test program is every agent too, and does what a test asks for: it runs scripts.

use std::collections::BTreeMap;
use std::env;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitCode};

use nix::mount::{MsFlags, mount};
use seatrial_core::linux::keeper::Keeper;
use seatrial_core::linux::node::{self, init};
use seatrial_core::linux::process::{Node, Start, start};
use seatrial_core::linux::space::Space;
use seatrial_core::linux::{Error, entry};
use seatrial_core::plan::{IdMap, MountRoot, Process};
use seatrial_core::probe::NsKind;
use seatrial_core::topology::NodeName;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

/// The map that gives a user namespace every id there is here.
pub(crate) const EVERYTHING: IdMap = IdMap { inside: 0, outside: 0, count: u32::MAX };

// The harness has `main`, and would not know an agent's name for what it is.
// SAFETY: an entry of this section is a function that takes nothing the callee does not ignore; the standard library's
// own entry, which finds the arguments, has gone before it.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

extern "C" fn before_main() {
    if env::args_os().next().is_some_and(|name| name == entry::AGENT) {
        let code = entry::control().map_or(ExitCode::FAILURE, |control| node::main(control, shell));
        process::exit(i32::from(code != ExitCode::SUCCESS));
    }
}

/// Runs scripts, one after another: what each printed, and how it ended.
async fn shell(control: UnixStream, _node: &NodeName) -> io::Result<()> {
    let (scripts, mut answers) = control.into_split();
    let mut scripts = BufReader::new(scripts).lines();
    while let Some(script) = scripts.next_line().await? {
        let script: String = serde_json::from_str(&script)?;
        let (mut printed, theirs) = io::pipe()?;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &script]).stdout(theirs.try_clone()?).stderr(theirs);
        let running = init::spawn(&mut command)?;
        drop(command);
        let mut text = String::new();
        printed.read_to_string(&mut text)?;
        let code = running.exit.await.ok().and_then(|status| status.code());
        let mut line = serde_json::to_vec(&(code, text))?;
        line.push(b'\n');
        answers.write_all(&line).await?;
    }
    Ok(())
}

/// A place where nodes are started: a user namespace, and folders for their files.
pub(crate) struct Ground {
    pub(crate) keeper: Keeper,
    /// The namespaces that nodes are in where nothing else is said.
    common: Vec<Space>,
    runtime: Runtime,
}

/// What a node is started with besides its name.
#[derive(Default)]
pub(crate) struct With<'a> {
    pub(crate) spaces: Vec<&'a Space>,
    pub(crate) pid_parent: Option<&'a Space>,
    pub(crate) root: MountRoot,
    pub(crate) shm: Option<&'a Path>,
    pub(crate) machine: bool,
    pub(crate) privileged: bool,
    pub(crate) cap_add: &'a [&'a str],
    pub(crate) cap_drop: &'a [&'a str],
    pub(crate) user: Option<&'a str>,
}

/// A node that runs.
pub(crate) struct Actor {
    pub(crate) node: Node,
    control: Option<BufReader<UnixStream>>,
}

impl Ground {
    pub(crate) fn new() -> Self {
        mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let mut keeper = Keeper::start(&EVERYTHING).unwrap();
        let kinds = [NsKind::Network, NsKind::Ipc, NsKind::Uts, NsKind::Cgroup];
        let common = kinds.map(|kind| keeper.make(kind).unwrap()).into();
        Self { keeper, common, runtime }
    }

    /// A folder for files of a node's.
    pub(crate) fn files(name: &str) -> PathBuf {
        Path::new("/run/files").join(name)
    }

    pub(crate) fn try_start(&self, name: &str, with: &With<'_>) -> Result<Actor, Error> {
        let node = NodeName::from(name);
        let words = |words: &[&str]| words.iter().map(|&w| w.to_owned()).collect();
        let process = Process {
            container: (!with.machine).then(|| name.to_owned()),
            node,
            namespaces: BTreeMap::new(),
            cap_add: words(with.cap_add),
            cap_drop: words(with.cap_drop),
            privileged: with.privileged,
            user: with.user.map(str::to_owned),
            program: None,
        };
        let user = self.keeper.user().unwrap();
        let spaces = self.common.iter().chain(with.spaces.iter().copied());
        let spaces = spaces.map(|space| (space.kind(), space));
        let start_with = Start {
            program: Path::new("/proc/self/exe"),
            process: &process,
            spaces: spaces.chain([(NsKind::User, &user)]).collect(),
            pid_parent: with.pid_parent,
            root: &with.root,
            files: &Self::files(name),
            shm: with.shm,
        };
        let mut node = self.runtime.block_on(start(&start_with))?;
        let control = Some(BufReader::new(node.control()?));
        Ok(Actor { node, control })
    }

    pub(crate) fn start(&self, name: &str, with: &With<'_>) -> Actor {
        self.try_start(name, with).unwrap()
    }

    /// What a script prints in a node, however it ends.
    pub(crate) fn says(&self, actor: &mut Actor, script: &str) -> String {
        self.run(actor, script).1
    }

    /// How a script ends in a node, and what it prints.
    pub(crate) fn run(&self, actor: &mut Actor, script: &str) -> (Option<i32>, String) {
        let control = actor.control.as_mut().unwrap();
        self.runtime.block_on(async {
            let mut line = serde_json::to_vec(script).unwrap();
            line.push(b'\n');
            control.get_mut().write_all(&line).await.unwrap();
            let mut answer = String::new();
            control.read_line(&mut answer).await.unwrap();
            let (code, text): (_, String) = serde_json::from_str(&answer).unwrap();
            (code, text.trim_end().to_owned())
        })
    }

    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        let limit = std::time::Duration::from_secs(20);
        self.runtime.block_on(async { tokio::time::timeout(limit, work).await }).unwrap()
    }
}

impl Actor {
    /// The stage is silent for ever.
    pub(crate) fn hang_up(&mut self) {
        self.control = None;
    }
}

/// Says that a test is left out, and why.
#[expect(clippy::print_stdout, reason = "what is skipped says so")]
pub(crate) fn skipped(reason: &str) {
    println!("skipped: {reason}");
}
