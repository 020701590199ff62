//! What is typed after `seatrial`.

use std::ffi::OsString;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use seatrial_core::engine::Engine;
use seatrial_core::linux::state::LabName;
use seatrial_core::topology::trial::Lane;
use seatrial_vmtests::kernels::Wanted;
use seatrial_vmtests::lanes::SEED;
use seatrial_vmtests::qemu::Disk;

const EXIT_STATUS: &str = "\
Exit status:
  0  everything held
  1  an expectation failed, or a kernel was lost
  2  bad input or usage
  3  a lane that was asked for cannot run here, or cannot run all of a trial";

const EXIT_STATUS_DIFF: &str = "\
Exit status:
  0  nothing differs
  1  something does
  2  bad input or usage";

/// Says who can reach whom in a Docker network, by what path, and why not.
#[derive(Debug, Parser)]
#[command(name = "seatrial", version, after_help = EXIT_STATUS, max_term_width = 80)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs trials: says which expectations hold, and why the others do not
    Check(Check),
    /// Follows one probe's packets: every hop, device, rule and rewrite
    Trace(Trace),
    /// Says who reaches whom, on which ports, and why not
    Matrix(Matrix),
    /// Says what differs between two networks: who becomes reachable, who no longer is, who is reached otherwise
    Diff(Diff),
    /// Looks at this Docker host, and writes all that bears on who reaches whom to a file
    Snapshot(Snapshot),
    /// Prints what the kernel is asked to make
    Plan(Plan),
    /// Brings a lab up: the same, alive in namespaces of your own
    Up(Up),
    /// Runs a program of yours inside a lab
    Exec(Exec),
    /// Lists the nodes of labs, as docker ps does
    Ps(Ps),
    /// Lists networks, as docker network ls does
    Networks(Networks),
    /// Lists the bridges of a lab's host, as brctl show does
    Bridges(Bridges),
    /// Takes labs down
    Down(Down),
}

/// Where the simulator's chance comes from.
#[derive(Debug, Args)]
pub(crate) struct Chance {
    /// Where the simulator's chance comes from: ports, sequence numbers, what a fault takes
    #[arg(long, value_name = "N", env = "SEATRIAL_SEED", hide_env_values = true, default_value_t = SEED)]
    pub(crate) seed: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Trial files, or folders that are searched for *.trial.yaml
    #[arg(value_name = "PATH", default_value = ".")]
    pub(crate) paths: Vec<PathBuf>,
    /// Where to run them; can be given several times
    #[arg(long, value_name = "LANE", default_value = "sim", value_parser = clap::builder::ValueParser::new(str::parse::<Lane>))]
    pub(crate) lane: Vec<Lane>,
    /// How many trials to run at one time, where they wait for a kernel
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// Runs every trial with this Engine's rules, whatever it says itself; can be given several times
    #[arg(long, value_name = "VERSION")]
    pub(crate) engine: Vec<Engine>,
    /// A kernel that lane vm boots and lane sim follows: a version that is listed, or a path; can be given several times;
    /// without it the newest there is, and 6.12
    #[arg(long, value_name = "VERSION|IMAGE[:MODULES]")]
    pub(crate) kernel: Vec<Wanted>,
    /// A root filesystem with a Docker Engine, for lane docker; can be given several times; without it those that
    /// scripts/reference-engines.sh made
    #[arg(long, value_name = "DIR")]
    pub(crate) docker_root: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) machines: Machines,
    #[command(flatten)]
    pub(crate) chance: Chance,
    /// How to say it
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: CheckFormat,
}

/// How virtual machines are run.
#[derive(Debug, Args)]
pub(crate) struct Machines {
    /// What carries virtual machines out: KVM, where a first machine shows that it can, or QEMU's emulator
    #[arg(long, value_enum, default_value_t)]
    pub(crate) accel: WhichAccel,
    /// How long a virtual machine may be silent before it is given up: 90, 90s, 2m
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = silence)]
    pub(crate) timeout: Duration,
    /// Leaves the consoles of virtual machines, and what they started with, in this folder
    #[arg(long, value_name = "FOLDER")]
    pub(crate) keep: Option<PathBuf>,
}

/// Runs trials on Linux kernels in virtual machines, and holds what comes of them beside the simulator.
#[derive(Debug, Parser)]
#[command(name = "vmtests", version, after_help = EXIT_STATUS, max_term_width = 80)]
pub(crate) struct VmTests {
    /// Trial files, or folders that are searched for *.trial.yaml; without them what VMTESTS_TRIALS names, or fixtures/trials
    #[arg(value_name = "TRIALS")]
    pub(crate) trials: Vec<PathBuf>,
    /// A kernel: a version that is listed, or a path; can be given several times; without it all that are listed
    #[arg(long, value_name = "VERSION|IMAGE[:MODULES]")]
    pub(crate) kernel: Vec<Wanted>,
    /// How many kernels run at one time, as many as there are cores where nobody says; a trial that is fresh or apart has
    /// its machines beside them
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,
    #[command(flatten)]
    pub(crate) machines: Machines,
    /// Only every Nth trial, from the Ith on
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<Shard>,
    /// Gives you a shell on a kernel, in place of trials, or runs CMD there: the newest kernel where none is named
    #[arg(long, conflicts_with_all = ["list_kernels", "shard", "jobs", "format", "trials"])]
    pub(crate) shell: bool,
    /// A disk for the shell, on /disk: an image of an ext4 file system, which is not written to with :ro
    #[arg(long, value_name = "IMAGE[:ro]", requires = "shell")]
    pub(crate) disk: Option<Disk>,
    /// What is run in the place of a shell; its status is this program's
    #[arg(last = true, requires = "shell", value_name = "CMD")]
    pub(crate) command: Vec<String>,
    /// Says which kernels are listed, and boots none
    #[arg(long)]
    pub(crate) list_kernels: bool,
    #[command(flatten)]
    pub(crate) chance: Chance,
    /// How to say it
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: CheckFormat,
}

/// How long a machine may be silent, in seconds, or with its unit.
fn silence(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix('m') {
        Some(minutes) => (minutes, 60),
        None => (text.strip_suffix('s').unwrap_or(text), 1),
    };
    let seconds = number.parse::<u32>().ok().and_then(NonZeroU32::new).map(|n| u64::from(n.get()) * unit);
    seconds.map(Duration::from_secs).ok_or_else(|| "a time such as 90, 90s or 2m is needed".to_owned())
}

/// A part of all trials: `2/3` is every third, from the second on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shard {
    /// Which, from 1.
    pub(crate) part: usize,
    /// Of how many.
    pub(crate) parts: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let numbers =
            s.split_once('/').and_then(|(part, parts)| Some((part.parse().ok()?, parts.parse().ok()?)));
        match numbers {
            Some((part, parts)) if (1..=parts).contains(&part) => Ok(Self { part, parts }),
            Some(_) | None => Err("a part such as 2/3 is needed, from 1/3 to 3/3".to_owned()),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Trace {
    #[command(flatten)]
    pub(crate) input: Input,
    /// The question: 'NODE -> TARGET:PORT/PROTO,OPTION…', as in 'lan -> 203.0.113.10:8080/tcp'
    pub(crate) probe: String,
    #[command(flatten)]
    pub(crate) chance: Chance,
    /// Writes what a sniffer on every device sees to this file, as pcapng: Wireshark and tshark read it
    #[arg(long, value_name = "PATH")]
    pub(crate) pcap: Option<PathBuf>,
    /// How to say it
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) options: InputOptions,
}

#[derive(Debug, Args)]
pub(crate) struct Matrix {
    #[command(flatten)]
    pub(crate) input: Input,
    #[command(flatten)]
    pub(crate) chance: Chance,
    /// How to say it
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) options: InputOptions,
}

/// One of these must tell two networks apart: a second file, two Engines, a revision.
#[derive(Debug, Args)]
#[command(after_help = EXIT_STATUS_DIFF)]
pub(crate) struct Diff {
    /// What it was: a compose file, a trial file, or the folder of a compose project
    pub(crate) before: PathBuf,
    /// What it is; the same file where none is named
    pub(crate) after: Option<PathBuf>,
    /// Whose rules: one Engine for both, or one for each
    #[arg(long, value_name = "VERSION")]
    pub(crate) engine: Vec<Engine>,
    /// A revision of git to read the first from, and with a second one the other; else that is read from the working tree
    #[arg(long, value_name = "REVISION")]
    pub(crate) rev: Vec<String>,
    #[command(flatten)]
    pub(crate) chance: Chance,
    /// How to say it
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: DiffFormat,
    #[command(flatten)]
    pub(crate) project: ProjectOptions,
}

/// It changes nothing, and needs root.
#[derive(Debug, Args)]
pub(crate) struct Snapshot {
    /// The file to write; standard output where none is named
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// The Engine's socket: it is asked what containers are called
    #[arg(long, value_name = "PATH", default_value = "/var/run/docker.sock")]
    pub(crate) socket: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) input: Input,
    /// Only this node's namespace; the rules formats print the host's where none is named
    #[arg(long, value_name = "NODE")]
    pub(crate) ns: Option<String>,
    /// How to say it
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: PlanFormat,
    #[command(flatten)]
    pub(crate) options: InputOptions,
}

#[derive(Debug, Args)]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) input: Input,
    /// What to call it; the project's name where nobody says
    #[arg(long, value_name = "LAB")]
    pub(crate) name: Option<LabName>,
    #[command(flatten)]
    pub(crate) options: InputOptions,
}

#[derive(Debug, Args)]
pub(crate) struct Exec {
    #[command(flatten)]
    pub(crate) which: WhichLab,
    /// A variable for the program, NAME=VALUE, or NAME with the value it has here; can be given several times
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<OsString>,
    /// Where the program is run; the service's working_dir or / where nobody says
    #[arg(short, long, value_name = "PATH")]
    pub(crate) workdir: Option<PathBuf>,
    /// Inside which node: host, a machine of the LAN, a service
    pub(crate) node: String,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Ps {
    #[command(flatten)]
    pub(crate) which: WhichLab,
    /// How to say it
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Networks {
    /// A compose file, a trial file, or a project's folder, in place of a lab
    #[arg(conflicts_with = "lab")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) which: WhichLab,
    /// Of this host, where there are several
    #[arg(long, value_name = "NODE", default_value = "host")]
    pub(crate) host: String,
    #[command(flatten)]
    pub(crate) options: InputOptions,
}

#[derive(Debug, Args)]
pub(crate) struct Bridges {
    #[command(flatten)]
    pub(crate) which: WhichLab,
    /// Of this host, where there are several
    #[arg(long, value_name = "NODE", default_value = "host")]
    pub(crate) host: String,
}

#[derive(Debug, Args)]
pub(crate) struct Down {
    /// Which; the only one where nobody says
    #[arg(value_name = "LAB", conflicts_with = "all")]
    pub(crate) labs: Vec<LabName>,
    /// All of them
    #[arg(long)]
    pub(crate) all: bool,
}

/// Which lab is meant.
#[derive(Debug, Args)]
pub(crate) struct WhichLab {
    /// Which lab; the only one where nobody says
    #[arg(long, value_name = "LAB")]
    pub(crate) lab: Option<LabName>,
}

/// What is looked at.
#[derive(Debug, Args)]
pub(crate) struct Input {
    /// A compose file, a trial file, or the folder of a compose project
    pub(crate) file: PathBuf,
}

/// How it is read.
#[derive(Debug, Args)]
#[command(next_help_heading = "Reading")]
pub(crate) struct InputOptions {
    #[command(flatten)]
    pub(crate) project: ProjectOptions,
    /// Whose rules: a version such as 28.5 or 29
    #[arg(long, value_name = "VERSION")]
    pub(crate) engine: Option<Engine>,
}

/// How a compose project is read.
#[derive(Debug, Args)]
#[command(next_help_heading = "Reading")]
pub(crate) struct ProjectOptions {
    /// A further compose file, merged over FILE; can be given several times
    #[arg(short = 'f', long = "file", value_name = "MORE")]
    pub(crate) more: Vec<PathBuf>,
    /// A profile whose services take part; can be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Vec<String>,
    /// The project's name, in place of its folder's
    #[arg(short, long, value_name = "NAME")]
    pub(crate) project_name: Option<String>,
    /// A file of variables, in place of .env; can be given several times
    #[arg(long, value_name = "PATH")]
    pub(crate) env_file: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum WhichAccel {
    /// KVM where it works, else TCG
    #[default]
    Auto,
    /// KVM, whatever comes of it
    Kvm,
    /// QEMU's emulator
    Tcg,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckFormat {
    /// A table for a person
    #[default]
    Text,
    /// One JSON document
    Json,
    /// JUnit's XML
    Junit,
    /// The Test Anything Protocol, version 14
    Tap,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table for a person
    #[default]
    Text,
    /// One JSON document
    Json,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum DiffFormat {
    /// For a person
    #[default]
    Text,
    /// One JSON document
    Json,
    /// For the comment of a merge request
    Markdown,
    /// JUnit's XML: a failure for each class of differences
    Junit,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanFormat {
    /// The shell script a person would type
    #[default]
    Shell,
    /// One namespace's IPv4 rules, for iptables-restore
    IptablesSave,
    /// One namespace's IPv6 rules, for ip6tables-restore
    Ip6tablesSave,
    /// One namespace's tables of nft, both families', as nft list prints them; what people wrote as they wrote it
    Nft,
    /// The objects, as one JSON document
    Json,
}
