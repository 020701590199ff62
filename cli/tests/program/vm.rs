//! Lane vm, where something is wrong with what it needs: an emulator that is not one, and kernels that do not come up.
//!
//! What stands for QEMU is a script: it gets the emulator's arguments, its standard input is the port of a guest, and its
//! standard output the console.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Said, folder, program};

const TRIAL: &str = "title: t\ncompose: { services: { web: { image: nginx } } }\nexpect: [ web -> 127.0.0.1/icmp reaches web ]\n";
const MANIFEST: &str = r#"[ { "version": "6.12", "image": "vmlinuz", "modules": "modules" } ]"#;
const TWO: &str = r#"[ { "version": "6.1", "image": "old" }, { "version": "6.12", "image": "vmlinuz", "modules": "modules" } ]"#;
/// A guest that comes up, in the words of its port.
const READY: &str = r#"echo '{"ready":{"release":"6.12.9-x","refused":[]}}' >&0"#;
/// What a guest answers to the first stage.
const SET: &str = r#"echo '{"said":{"stage":0,"said":{"Ok":[]}}}' >&0"#;

/// What a guest says that has set a stage and found what the trial expects.
fn answers() -> String {
    let outcome = r#"{"outcome":{"Reaches":{"node":"web","port":null,"from":"127.0.0.1"}}}"#;
    format!(
        "{SET}; read ask; echo '{{\"said\":{{\"stage\":0,\"said\":{{\"Ok\":[{outcome}]}}}}}}' >&0; exec /bin/sleep 60"
    )
}

/// A folder with a trial, a list of kernels, and a script for QEMU.
fn place(qemu: Option<&str>, manifest: Option<&str>) -> TempDir {
    let folder = folder(&[
        ("t.trial.yaml", TRIAL),
        ("kernels/vmlinuz", ""),
        ("kernels/old", "old"),
        ("kernels/modules/kernel/a", ""),
    ]);
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("bin")).unwrap();
    if let Some(script) = qemu {
        fs::write(
            at("bin/qemu-system-x86_64"),
            format!("#!/bin/sh\n[ \"$1\" = --version ] && exit 0\n{script}\n"),
        )
        .unwrap();
        fs::set_permissions(at("bin/qemu-system-x86_64"), fs::Permissions::from_mode(0o755)).unwrap();
    }
    manifest.into_iter().for_each(|text| fs::write(at("kernels/manifest.json"), text).unwrap());
    folder
}

/// A check in lane vm there.
fn checking(folder: &Path, more: &[&str]) -> Command {
    let args = [&["check", "t.trial.yaml", "--lane", "vm"], more].concat();
    let mut program = program(folder, &args);
    program.env("PATH", folder.join("bin")).env("SEATRIAL_KERNELS", folder.join("kernels"));
    program
}

/// A program that heeds SIGINT and SIGTERM, even where whoever runs the tests does not: a shell's background job.
fn heeding(program: &Command) -> Command {
    let mut heeding = Command::new("/usr/bin/env");
    heeding.arg("--default-signal=INT,TERM").arg(program.get_program()).args(program.get_args());
    heeding.env_clear().envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    program.get_current_dir().into_iter().for_each(|folder| _ = heeding.current_dir(folder));
    heeding
}

/// A check in lane vm, with this script for QEMU, and this list of kernels.
fn check(qemu: Option<&str>, manifest: Option<&str>, more: &[&str]) -> Said {
    let folder = place(qemu, manifest);
    checking(folder.path(), more).output().unwrap().into()
}

/// What a check refuses with, whose lane cannot run.
fn refused(qemu: Option<&str>, manifest: Option<&str>, more: &[&str]) -> String {
    let said = check(qemu, manifest, more);
    assert_eq!((said.status, said.out.as_str()), (3, ""), "{}", said.err);
    assert!(said.err.contains("lane vm cannot run here"), "{}", said.err);
    said.err.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn what_lane_vm_lacks_is_named_with_where_it_comes_from() {
    let no_qemu = refused(None, Some(MANIFEST), &[]);
    assert!(
        no_qemu.contains("cannot run qemu-system-x86_64") && no_qemu.contains("scripts/setup.sh"),
        "{no_qemu}"
    );
    let no_kernels = refused(Some(""), None, &[]);
    assert!(
        no_kernels.contains("manifest.json") && no_kernels.contains("scripts/kernels.sh"),
        "{no_kernels}"
    );
    let other = refused(Some(""), Some(MANIFEST), &["--kernel", "6.1"]);
    assert!(other.contains("no kernel 6.1 among those that are here (6.12)"), "{other}");
    let torn = refused(Some(""), Some("[ {"), &[]);
    assert!(torn.contains("manifest.json") && torn.contains("EOF"), "{torn}");
}

#[test]
fn a_kernel_that_panics_or_hangs_is_no_success_whatever_qemu_says() {
    let panic =
        refused(Some("echo '[ 1.0] Kernel panic - not syncing: no init'; exit 0"), Some(MANIFEST), &[]);
    assert!(panic.contains("ended before it said anything (exit status: 0)"), "{panic}");
    assert!(panic.contains("Kernel panic - not syncing: no init"), "{panic}");
    let hang = refused(Some("echo booting; exec /bin/sleep 60"), Some(MANIFEST), &["--timeout", "1"]);
    assert!(hang.contains("said nothing for 1 s; its console ends: booting"), "{hang}");
}

#[test]
fn a_manifest_that_lists_a_version_twice_or_what_is_not_there_is_refused() {
    let line = r#"{ "version": "6.12", "image": "vmlinuz", "modules": "modules" }"#;
    let twice = refused(Some(READY), Some(&format!("[ {line}, {line} ]")), &[]);
    assert!(twice.contains("kernel 6.12 is listed twice"), "{twice}");
    let gone = refused(Some(READY), Some(&MANIFEST.replace("vmlinuz", "none")), &[]);
    assert!(gone.contains("kernels/none: No such file or directory"), "{gone}");
    let bare = refused(Some(READY), Some(&MANIFEST.replace("modules\" }", "none\" }")), &[]);
    assert!(bare.contains("kernels/none/kernel: No such file or directory"), "{bare}");
}

#[test]
fn a_module_that_is_torn_is_named() {
    for name in ["veth.ko", "veth.ko.xz", "veth.ko.zst"] {
        let folder = place(Some(READY), Some(MANIFEST));
        fs::write(folder.path().join("kernels/modules/kernel").join(name), "torn").unwrap();
        let said = Said::from(checking(folder.path(), &[]).output().unwrap());
        assert_eq!((said.status, said.out.as_str()), (3, ""), "{}", said.err);
        let words: String = said.err.split_whitespace().collect();
        assert!(words.contains(&format!("kernels/modules/kernel/{name}:")), "{}", said.err);
    }
}

/// QEMU would start it, and nobody hear a word of it.
#[test]
fn an_image_that_is_torn_is_named_before_it_is_booted() {
    let folder = place(Some(READY), Some(MANIFEST));
    let mut image = vec![0; 0x400];
    image[0x202..0x208].copy_from_slice(b"HdrS\x0f\x02");
    image[0x24d] = 1;
    fs::write(folder.path().join("kernels/vmlinuz"), image).unwrap();
    let said = Said::from(checking(folder.path(), &[]).output().unwrap());
    assert_eq!((said.status, said.out.as_str()), (3, ""), "{}", said.err);
    let words = said.err.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("kernels/vmlinuz: it ends too early: fetch it again"), "{words}");
}

#[test]
fn a_console_is_shown_line_by_line() {
    let said = check(Some("echo '[ 1.0] first'; echo '[ 2.0] second'; exit 1"), Some(MANIFEST), &[]);
    assert!(said.err.ends_with("its console ends:\n  [ 1.0] first\n  [ 2.0] second\n"), "{}", said.err);
}

#[test]
fn a_kernel_that_is_named_by_its_path_must_be_one() {
    for (kernel, words) in [
        ("vmlinuz", "cannot read vmlinuz: No such file or directory"),
        ("kernels/vmlinuz", "it is neither a bzImage nor a vmlinux"),
        ("t.trial.yaml:kernels", "it is neither a bzImage nor a vmlinux"),
    ] {
        let said = check(Some(READY), Some(MANIFEST), &["--kernel", kernel]);
        assert_eq!((said.status, said.out.as_str()), (2, ""), "{}", said.err);
        assert!(said.err.contains(words), "{}", said.err);
    }
}

#[test]
fn a_time_that_is_none_is_refused() {
    for time in ["0", "0s", "1h", "s", ""] {
        let said = check(Some(READY), Some(MANIFEST), &["--timeout", time]);
        assert_eq!((said.status, said.out.as_str()), (2, ""), "{time}: {}", said.err);
        assert!(said.err.contains("--timeout"), "{time}: {}", said.err);
    }
}

/// A machine that is up, and then does something else than answer.
fn fails(more: &str) -> String {
    let said = check(Some(&format!("{READY}\n{more}")), Some(MANIFEST), &["--timeout", "1"]);
    assert_eq!(said.status, 1, "{}{}", said.out, said.err);
    said.out.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_machine_that_is_lost_half_way_fails_what_was_asked_of_it_with_its_last_words() {
    let dies = fails("echo last words; exit 0");
    assert!(
        dies.contains("the virtual machine of 6.12.9-x: it has ended; its console ends: last words"),
        "{dies}"
    );
    let hangs = fails("exec /bin/sleep 60");
    assert!(hangs.contains("it said nothing for 1 s, and was ended; its console says nothing"), "{hangs}");
    let babbles = fails("echo nonsense >&0; exec /bin/sleep 60");
    assert!(babbles.contains("it has ended"), "{babbles}");
}

#[test]
fn a_kernel_that_complains_half_way_fails_what_held() {
    for splat in [
        "WARNING: CPU: 0 PID: 7 at net/core/dev.c:9 f+0x1/0x2",
        "WARNING: net/core/dev.c:9 at f+0x1/0x2, CPU#0: ip/7",
    ] {
        let said = fails(&format!("read set; echo '[ 5.0] {splat}'; {}", answers()));
        assert!(
            said.contains(&format!("its kernel complains of itself; its console says: [ 5.0] {splat}")),
            "{said}"
        );
    }
}

#[test]
fn of_two_kernels_the_one_that_does_not_come_up_fails_in_every_format() {
    let panic = "while [ \"$1\" != -kernel ]; do shift; done\n\
                 if /bin/grep -q old \"$2\"; then echo 'Kernel panic - not syncing'; exit 0; fi";
    let qemu = format!("{panic}\n{READY}\nread set\n{}", answers());
    let said = |format| {
        check(
            Some(&qemu),
            Some(TWO),
            &["--kernel", "6.1", "--kernel", "6.12", "--timeout", "5", "--format", format],
        )
    };
    let json = said("json");
    assert_eq!(json.status, 1, "{}", json.err);
    let document: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(document["lanes"], serde_json::json!(["vm 6.1", "vm 6.12"]));
    let lost = document["machines"]["vm 6.1"]["error"].as_str().unwrap();
    assert!(lost.contains("Kernel panic - not syncing"), "{lost}");
    assert_eq!(document["machines"]["vm 6.12"]["release"], "6.12.9-x");
    let row = &document["trials"][0]["expectations"][0]["lanes"]["vm 6.1"];
    assert_eq!(row["got"], "cannot boot kernel 6.1: it did not come up");
    let junit = quick_junit::Report::deserialize_from_str(&said("junit").out).unwrap();
    let names: Vec<String> = junit.test_suites[0]
        .test_cases
        .iter()
        .filter_map(|case| Some(case.classname.as_ref()?.to_string()))
        .collect();
    assert!(names.iter().any(|name| name.ends_with(".vm 6.1")), "{names:?}");
    let tap = said("tap").out;
    assert!(tap.contains("not ok 1 - t.trial.yaml [vm 6.1] web -> 127.0.0.1/icmp"), "{tap}");
    assert!(said("text").out.contains("vm 6.1: kernel 6.1: it ended before it said anything"));
}

/// A machine holds a pipe open for as long as it lives.
#[test]
fn a_program_that_is_ended_takes_its_machine_with_it() {
    for (came, signal) in [
        ("", Signal::SIGINT),
        ("", Signal::SIGTERM),
        (READY, Signal::SIGINT),
        (READY, Signal::SIGTERM),
        (READY, Signal::SIGKILL),
    ] {
        let machine = format!("exec 3>alive\n{came}\necho up >&3; exec /bin/sleep 600");
        let folder = place(Some(&machine), Some(MANIFEST));
        mkfifo(&folder.path().join("alive"), Mode::S_IRWXU).unwrap();
        let mut child = heeding(&checking(folder.path(), &[]))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut alive = BufReader::new(File::open(folder.path().join("alive")).unwrap());
        let mut line = String::new();
        alive.read_line(&mut line).unwrap();
        assert_eq!(line, "up\n");
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(signal as i32));
        assert_eq!(alive.read_line(&mut line).unwrap(), 0, "nobody writes any more");
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left.len(), 4, "{left:?}");
    }
}

/// One that has no monitor that answers, say.
#[test]
fn a_machine_that_cannot_be_saved_serves_all_the_same_and_says_so() {
    let folder = place(Some(&format!("{READY}\nread set\n{}", answers())), Some(MANIFEST));
    let mut checking = checking(folder.path(), &["--accel", "tcg", "--timeout", "1"]);
    let said = Said::from(checking.env("SEATRIAL_MACHINES", folder.path().join("saved")).output().unwrap());
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
    assert!(said.out.contains("it could not be saved: QEMU's monitor says nothing"), "{}", said.out);
    assert!(!folder.path().join("saved").exists());
}

#[test]
fn a_trial_that_asks_for_it_has_a_machine_of_its_own() {
    for (fresh, machines) in [("", 1), ("fresh: true\n", 2)] {
        let qemu = format!("echo started >> machines\n{READY}\nread set\n{}", answers());
        let folder = place(Some(&qemu), Some(MANIFEST));
        fs::write(folder.path().join("t.trial.yaml"), format!("{fresh}{TRIAL}")).unwrap();
        let said = Said::from(checking(folder.path(), &[]).output().unwrap());
        assert_eq!(said.status, 0, "{}{}", said.out, said.err);
        let started = fs::read_to_string(folder.path().join("machines")).unwrap();
        assert_eq!(started.lines().count(), machines, "{fresh}");
    }
}

#[test]
fn what_the_kernel_of_a_machine_of_its_own_says_of_itself_fails_the_run() {
    let qemu = format!(
        "echo started >> machines\n{READY}\nread set\n[ $(/bin/grep -c . machines) = 1 ] || echo 'BUG: x'\n{}",
        answers()
    );
    let folder = place(Some(&qemu), Some(MANIFEST));
    fs::write(folder.path().join("t.trial.yaml"), format!("fresh: true\n{TRIAL}")).unwrap();
    let said = Said::from(checking(folder.path(), &[]).output().unwrap());
    assert_eq!(said.status, 1, "{}{}", said.out, said.err);
    assert!(said.out.contains("1 machine lost") && said.out.contains("BUG: x"), "{}", said.out);
}

#[test]
fn two_checks_at_one_time_have_machines_of_their_own() {
    let folder = place(Some(&format!("{READY}\nread set\n{}", answers())), Some(MANIFEST));
    let run = || checking(folder.path(), &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    for child in [run(), run()] {
        let said = Said::from(child.wait_with_output().unwrap());
        assert_eq!(said.status, 0, "{}{}", said.out, said.err);
    }
}

#[test]
fn what_a_machine_had_is_left_where_one_asks_for_it() {
    let folder = place(Some(&format!("echo booting\n{READY}\nread set\n{}", answers())), Some(MANIFEST));
    let said = Said::from(checking(folder.path(), &["--keep", "kept"]).output().unwrap());
    assert_eq!(said.status, 0, "{}{}", said.out, said.err);
    let kept = folder.path().join("kept/6.12");
    assert_eq!(fs::read_to_string(kept.join("console.log")).unwrap(), "booting\n");
    assert!(fs::read(kept.join("initramfs.cpio")).unwrap().starts_with(b"070701"));
    let said = Said::from(checking(folder.path(), &["--keep", "t.trial.yaml"]).output().unwrap());
    assert_eq!(said.status, 3);
    assert!(said.err.contains("cannot write to t.trial.yaml/6.12: Not a"), "{}", said.err);
}

#[test]
fn vmtests_is_a_table_of_trials_and_kernels_beside_the_simulator() {
    let two = TWO.replace("\"old\"", "\"old\", \"modules\": \"modules\"");
    let qemu = format!("{READY}\nread set\n{}", answers());
    let folder = place(Some(&qemu), Some(&two));
    let run = |args: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_vmtests"));
        program.args(args).current_dir(folder.path()).env_clear();
        program.env("PATH", folder.path().join("bin")).env("SEATRIAL_KERNELS", folder.path().join("kernels"));
        Said::from(program.env("VMTESTS_TRIALS", "t.trial.yaml").output().unwrap())
    };
    let all = run(&[]);
    assert_eq!(all.status, 0, "{}{}", all.out, all.err);
    let words: Vec<&str> = all.out.split_whitespace().collect();
    assert!(words.starts_with(&["6.1", "6.12", "t"]), "{}", all.out);
    assert!(
        all.out.contains("vm 6.1: 6.12.9-x, up after ") && all.out.contains("4 held, 0 failed"),
        "{}",
        all.out
    );
    assert!(all.out.contains(" by tcg (no kvm: ") || all.out.contains(" by kvm"), "{}", all.out);
    let one = run(&["--kernel", "6.1", "--accel", "tcg", "--shard", "1/1", "--format", "json"]);
    let document: Value = serde_json::from_str(&one.out).unwrap();
    assert_eq!(document["lanes"], serde_json::json!(["sim 6.1", "vm 6.1"]));
    assert!(document["trials"][0]["seconds"]["vm 6.1"].as_f64().unwrap() > 0.0);
    let list = run(&["--list-kernels"]);
    assert!(list.out.starts_with("6.1     ") && list.out.contains("\n6.12    "), "{}", list.out);
    let none = run(&["--kernel", "6.12", "--shard", "2/2"]);
    assert_eq!((none.status, none.out.as_str()), (2, ""), "{}", none.err);
}

/// vmtests with these arguments, and this script for QEMU.
fn shell(qemu: &str, args: &[&str]) -> (TempDir, Command) {
    let folder = place(Some(&format!("{READY}\nread run\n{qemu}")), Some(TWO));
    let mut program = Command::new(env!("CARGO_BIN_EXE_vmtests"));
    program.arg("--shell").args(args).current_dir(folder.path()).env_clear();
    // A shell is on the PATH.
    program.env("PATH", format!("{}:/usr/bin:/bin", folder.path().join("bin").display()));
    program.env("SEATRIAL_KERNELS", folder.path().join("kernels")).env("SEATRIAL_MACHINES", "");
    program.stdin(Stdio::null());
    (folder, program)
}

/// What a guest says of a program, and what this one says of it.
#[test]
fn a_program_in_a_guest_ends_as_it_did_there_or_says_why_it_has_no_end() {
    let ended = r#"echo '{"ended":{"Ok":7}}' >&0"#;
    let says = r#"echo '{"output":[104,105]}' >&0"#;
    let loud = format!("{says}; {says}; {ended}");
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let pipe_of_nobody = || std::io::pipe().unwrap().1;
    for (guest, output, status, words) in [
        (loud.as_str(), Stdio::piped(), 7, ""),
        (&loud, pipe_of_nobody().into(), 7, ""),
        (&loud, full().into(), 2, "error: cannot write to standard output: No space left on device"),
        (r#"echo '{"ended":{"Err":"cannot run a"}}' >&0"#, Stdio::piped(), 2, "error: cannot run a\n"),
        ("exit 0", Stdio::piped(), 3, "the virtual machine has ended; its console says"),
    ] {
        let (_folder, mut program) = shell(&format!("{guest}; exec /bin/sleep 60"), &["--", "a"]);
        let output = program.stdout(output).stderr(Stdio::piped()).spawn().unwrap().wait_with_output();
        let said = Said::from(output.unwrap());
        let err = said.err.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.status == status && err.contains(words.trim_end()), "{guest}: {}: {err}", said.status);
        assert!(said.out.is_empty() || said.out == "hihi", "{}", said.out);
    }
}

#[test]
fn what_cannot_be_read_for_a_program_in_a_guest_is_said() {
    let (_folder, mut program) =
        shell(r#"read input; echo '{"ended":{"Ok":0}}' >&0; exec /bin/sleep 60"#, &["--", "a"]);
    let said = Said::from(program.stdin(File::open("/").unwrap()).output().unwrap());
    assert_eq!(said.status, 2);
    assert!(said.err.contains("cannot read standard input: Is a directory"), "{}", said.err);
}

#[test]
fn a_shell_takes_nothing_that_is_for_trials() {
    for (args, words) in [
        (&["--jobs", "2"][..], "the argument '--shell' cannot be used with '--jobs <N>'"),
        (&["--format", "tap"], "the argument '--shell' cannot be used with '--format <FORMAT>'"),
        (&["t.trial.yaml"], "the argument '--shell' cannot be used with '[TRIALS]...'"),
        (&["--kernel", "6.12", "--kernel", "6.1"], "--shell is on one kernel: --kernel 6.1 is one too many"),
        (&["--disk", "kernels"], "cannot use the disk kernels: Is a directory"),
        (&["--disk", "kernels:ro"], "cannot use the disk kernels: it is a folder"),
        (&["--disk", "none"], "cannot use the disk none: No such file or directory"),
    ] {
        let (_folder, mut program) = shell("exit 0", args);
        let said = Said::from(program.env("VMTESTS_TRIALS", "t.trial.yaml").output().unwrap());
        assert_eq!(said.status, 2, "{args:?}: {}", said.err);
        assert!(said.err.contains(words), "{args:?}: {}", said.err);
    }
}
