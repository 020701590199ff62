//! Lane vm, where something is wrong with what it needs: an emulator that is not one, and kernels that do not come up.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::{Said, folder, program};

const TRIAL: &str = "title: t\ncompose: { services: { web: { image: nginx } } }\nexpect: [ web -> 127.0.0.1/icmp reaches web ]\n";
const MANIFEST: &str = r#"[ { "version": "6.12", "image": "vmlinuz", "modules": "modules" } ]"#;

/// A check in lane vm, with this script for QEMU, and this list of kernels.
fn check(qemu: Option<&str>, manifest: Option<&str>, more: &[&str]) -> Said {
    let folder =
        folder(&[("t.trial.yaml", TRIAL), ("kernels/vmlinuz", ""), ("kernels/modules/kernel/a", "")]);
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
    let args = [&["check", "t.trial.yaml", "--lane", "vm"], more].concat();
    let mut program = program(folder.path(), &args);
    program.env("PATH", at("bin")).env("SEATRIAL_KERNELS", at("kernels"));
    program.output().unwrap().into()
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
