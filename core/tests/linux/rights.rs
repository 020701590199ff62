//! What a container may do, and what it may not.

use crate::alone::alone;
use crate::program::{Ground, With, skipped};

/// CAP_CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, NET_RAW, SYS_CHROOT, MKNOD,
/// AUDIT_WRITE and SETFCAP, as `docker run alpine grep Cap /proc/self/status` prints them.
const DOCKERS: &str = "00000000a80425fb";

const STATUS: &str = "sed -n 's/^\\(Cap[A-Z][a-z]*\\|NoNewPrivs\\|Seccomp\\):\\t/\\1 /p' /proc/self/status";

#[test]
fn a_container_has_docker_s_capabilities_and_no_more() {
    if !alone() {
        return;
    }
    let ground = Ground::new();
    let mut web = ground.start("web", &With::default());
    let none = "0000000000000000";
    let expected = format!(
        "CapInh {none}\nCapPrm {DOCKERS}\nCapEff {DOCKERS}\nCapBnd {DOCKERS}\nCapAmb {none}\nNoNewPrivs 1\nSeccomp 2"
    );
    assert_eq!(ground.says(&mut web, STATUS), expected);
    // The first process is no better off.
    assert_eq!(ground.says(&mut web, &STATUS.replace("self", "1")), expected);
}

#[test]
fn capabilities_are_added_and_dropped_as_compose_says() {
    if !alone() {
        return;
    }
    let ground = Ground::new();
    let bounds = |name, cap_add, cap_drop| {
        let mut node = ground.start(name, &With { cap_add, cap_drop, ..With::default() });
        let text = ground.says(&mut node, "grep CapBnd /proc/self/status | cut -f2");
        u64::from_str_radix(&text, 16).unwrap()
    };
    let dockers = u64::from_str_radix(DOCKERS, 16).unwrap();
    let (chown, net_admin) = (1 << 0, 1 << 12);
    assert_eq!(bounds("a", &["NET_ADMIN"], &["CHOWN"]), (dockers | net_admin) & !chown);
    assert_eq!(bounds("b", &["NET_ADMIN"], &["ALL"]), net_admin);
    assert_eq!(bounds("c", &[], &["ALL"]), 0);
    let all = bounds("d", &["ALL"], &["CHOWN"]);
    assert_eq!(all & (chown | net_admin), net_admin);
    assert!((all + 2).is_power_of_two(), "{all:x} is not every capability but the first");
}

#[test]
fn a_machine_and_a_privileged_container_keep_everything() {
    if !alone() {
        return;
    }
    let ground = Ground::new();
    for (name, machine) in [("host", true), ("web", false)] {
        let mut node = ground.start(name, &With { machine, privileged: !machine, ..With::default() });
        let status = ground.says(&mut node, STATUS);
        assert!(status.ends_with("NoNewPrivs 0\nSeccomp 0"), "{status}");
        let mounted =
            "mount -t tmpfs none /mnt && unshare --user true && echo 1 > /proc/sys/net/ipv4/ip_forward";
        assert_eq!(ground.run(&mut node, mounted), (Some(0), String::new()));
    }
}

#[test]
fn a_container_may_not_make_namespaces_or_mounts() {
    if !alone() {
        return;
    }
    let ground = Ground::new();
    let mut web = ground.start("web", &With::default());
    for (script, said) in [
        ("unshare --user true", "unshare failed: Operation not permitted"),
        ("unshare --net true", "unshare failed: Operation not permitted"),
        ("mount -t tmpfs none /mnt", "permission denied"),
        ("umount /proc", "must be superuser"),
        ("hostname other", "you must be root to change the host name"),
    ] {
        let (code, text) = ground.run(&mut web, script);
        assert!(code != Some(0) && text.contains(said), "{script}: {code:?} {text}");
    }
}

#[test]
fn a_container_with_sys_admin_may_make_namespaces_and_mounts() {
    if !alone() {
        return;
    }
    let ground = Ground::new();
    let mut web = ground.start("web", &With { cap_add: &["SYS_ADMIN"], ..With::default() });
    assert_eq!(
        ground.run(&mut web, "mount -t tmpfs none /mnt && unshare --net true"),
        (Some(0), String::new())
    );
}

#[test]
fn calls_that_the_policy_does_not_know_do_not_exist_and_others_are_forbidden() {
    if !alone() {
        return;
    }
    let ground = Ground::new();
    let mut web = ground.start("web", &With::default());
    let errno = |web: &mut _, call: &str| {
        let script = format!(
            "perl -e '$n = shift; $r = syscall($n, 0, 0, 0); print $r == -1 ? $!+0 : \"fine\"' {call}"
        );
        ground.says(web, &script)
    };
    if !ground.says(&mut web, "perl -e 'print 1'").starts_with('1') {
        return skipped("no perl");
    }
    // clone3, and a number that no kernel has given: ENOSYS. io_uring_setup and keyctl: EPERM.
    let numbers = ["435", "500", "425", if cfg!(target_arch = "x86_64") { "250" } else { "219" }];
    assert_eq!(numbers.map(|call| errno(&mut web, call)), ["38", "38", "1", "1"]);
}

#[test]
fn programs_of_a_container_run_as_its_user() {
    if !alone() {
        return;
    }
    let ground = Ground::new();
    let mut web = ground.start("web", &With { user: Some("0:0"), ..With::default() });
    assert_eq!(ground.says(&mut web, "id -u; id -g; echo $HOME"), "0\n0\n/root");
    let error =
        ground.try_start("no", &With { user: Some("nobody-at-all"), ..With::default() }).err().unwrap();
    assert!(
        error.to_string().contains("unable to find user nobody-at-all: no matching entries in passwd file")
    );
}
