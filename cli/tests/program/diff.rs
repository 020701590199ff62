//! `seatrial diff`.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::{Said, folder, run, run_in};

const LOOPBACK: &str = "fixtures/trials/publish/loopback-only.trial.yaml";
const WEB: &str = "services:\n  web: { image: nginx, ports: [ '8080:80' ] }\n  db: { image: postgres }\n";

/// The differences of two networks, with the status that says that there are some.
fn differ(args: &[&str]) -> String {
    let said = run(args);
    assert_eq!((said.status, said.err.as_str()), (1, ""), "{args:?}: {}", said.out);
    said.out
}

#[test]
fn two_engines_differ_in_what_a_stranger_on_the_lan_reaches() {
    // What these probes come to on Engine 26.1.5 and 28.5.2 is held in lane docker of trials/engines/direct and loopback.
    insta::assert_snapshot!(differ(&["diff", LOOPBACK, "--engine", "26.1", "--engine", "28.5"]));
}

/// Held by Engine 20.10.24, 26.1.5 and 28.5.2 in lane docker of this trial: the last is the first to drop it.
#[test]
fn a_port_for_loopback_alone_is_closed_to_a_stranger_who_has_greeted_the_host() {
    let trial = "fixtures/trials/engines/loopback.trial.yaml";
    let out = differ(&["diff", trial, "--engine", "26.1", "--engine", "28.5"]);
    let (_, closed) = out.split_once("is no longer reachable").unwrap();
    assert!(closed.contains("  mallory -> 127.0.0.1:5354/udp,raw\n"), "{out}");
}

#[test]
fn whoever_is_reached_by_another_way_is_told_from_who_is_refused_otherwise() {
    let trial = |daemon: &str, rule: &str| {
        format!(
            "title: t\ndaemon: {daemon}\nhost:\n  firewall: |\n    *filter\n    -A INPUT -p tcp --dport 9000 -j {rule}\n    COMMIT\n\
             lan: {{ laptop: 203.0.113.50/24 }}\nlisten: {{ host: [9000/tcp], web: [80/tcp] }}\n\
             compose: {{ services: {{ web: {{ image: web, ports: ['8080:80'] }} }} }}\nexpect: [ host -> 127.0.0.1:8080/tcp reaches web:80 ]\n"
        )
    };
    let before = trial("{ userland-proxy: true }", "DROP");
    let after = trial("{ userland-proxy: false }", "REJECT");
    let folder = folder(&[("a.trial.yaml", &before), ("b.trial.yaml", &after)]);
    let said = run_in(folder.path(), &["diff", "a.trial.yaml", "b.trial.yaml"]);
    assert_eq!((said.status, said.err.as_str()), (1, ""), "{}", said.out);
    let (moved, refused) = said.out.split_once("is refused otherwise\n").unwrap();
    let (_, moved) = moved.split_once("is reached otherwise\n").unwrap();
    assert!(moved.contains("  web -> 203.0.113.10:8080/tcp\n"), "{}", said.out);
    assert!(moved.contains("docker-proxy"), "{}", said.out);
    assert!(refused.contains("  laptop -> 203.0.113.10:9000/tcp\n"), "{}", said.out);
    assert!(refused.contains("before: dropped") && refused.contains("after: refused"), "{}", said.out);
}

#[test]
fn every_compose_file_is_hardened_between_26_and_28() {
    let files = std::fs::read_dir(crate::root().join("fixtures/compose")).unwrap();
    let mut names: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".yaml"));
    names.sort();
    let mut all = String::new();
    for name in names {
        let file = format!("fixtures/compose/{name}");
        let said = run(&["diff", &file, "--engine", "26", "--engine", "28", "--format", "json"]);
        let json: Value = serde_json::from_str(&said.out).unwrap();
        all += &format!("{name}: {} asked, status {}\n", json["asked"], said.status);
        for change in json["changes"].as_array().unwrap() {
            let (kind, questions) = (&change["kind"], change["questions"].as_array().unwrap());
            let [was, is] = ["before", "after"].map(|side| &change[side]["outcome"]);
            all += &format!("  {kind} {}: {} {was} {is}\n", questions.len(), questions[0]["before"]);
        }
    }
    insta::assert_snapshot!(all);
}

#[test]
fn a_service_that_moves_to_another_address_is_no_difference() {
    let after = WEB.replace("  web:", "  a: { image: a }\n  web:");
    let folder = folder(&[("before/compose.yaml", WEB), ("after/compose.yaml", &after)]);
    let said = run_in(folder.path(), &["diff", "before", "after", "-p", "shop"]);
    assert!(said.out.contains("172.18.0.3") && !said.out.contains("reached otherwise"), "{}", said.out);
    let same = run_in(folder.path(), &["diff", "before", "before/compose.yaml"]);
    assert_eq!(same.status, 0, "{}", same.out);
    assert!(same.out.contains("questions asked of both: nothing differs"), "{}", same.out);
}

#[test]
fn a_port_that_is_published_becomes_reachable_and_each_format_says_so() {
    let after = WEB.replace("postgres }", "postgres, ports: [ '127.0.0.1:5432:5432' ] }");
    let folder = folder(&[("before/compose.yaml", WEB), ("after/compose.yaml", &after)]);
    let mut all = String::new();
    for format in ["text", "markdown", "junit"] {
        let said = run_in(folder.path(), &["diff", "before", "after", "-p", "shop", "--format", format]);
        assert_eq!((said.status, said.err.as_str()), (1, ""));
        all += &format!("--format {format}\n{}\n", said.out);
    }
    insta::assert_snapshot!(all);
}

fn git(folder: &Path, args: &[&str]) {
    let names = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main"];
    let mut git = Command::new("git");
    git.args(names).args(args).current_dir(folder).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    let output = git.output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The program, with what git needs.
fn with_git(folder: &Path, args: &[&str]) -> Said {
    let mut program = crate::program(folder, args);
    program.env("PATH", std::env::var_os("PATH").unwrap()).output().unwrap().into()
}

#[test]
fn a_revision_is_compared_with_the_working_tree_or_with_another() {
    let env = ("app/.env", "PORT=8080\n");
    let text = WEB.replace("8080:", "${PORT}:");
    let folder = folder(&[("app/compose.yaml", &text), env]);
    git(folder.path(), &["init", "-q"]);
    git(folder.path(), &["add", "."]);
    git(folder.path(), &["commit", "-q", "-m", "one"]);
    std::fs::write(folder.path().join(env.0), "PORT=9090\n").unwrap();
    let said = with_git(folder.path(), &["diff", "app", "--rev", "HEAD"]);
    assert_eq!((said.status, said.err.as_str()), (1, ""));
    assert!(said.out.contains("lan -> 203.0.113.10:9090/tcp"), "{}", said.out);
    git(folder.path(), &["commit", "-q", "-a", "-m", "two"]);
    assert_eq!(with_git(folder.path(), &["diff", "app", "--rev", "HEAD"]).status, 0);
    let inside = folder.path().join("app");
    let said = with_git(&inside, &["diff", ".", "--rev", "HEAD~1", "--rev", "HEAD"]);
    assert_eq!(said.status, 1, "{}", said.err);
    for (args, words) in [
        (&["diff", "app", "--rev", "nothing"][..], "git knows no revision 'nothing'"),
        (&["diff", "app", "--rev=-x"], "git knows no revision '-x'"),
        (&["diff", "none", "--rev", "HEAD"], "cannot read none: there is no such file"),
        (&["diff", "app", "--rev", "a", "--rev", "b", "--rev", "c"], "a third revision, c"),
    ] {
        let said = with_git(folder.path(), args);
        assert_eq!((said.status, said.out.as_str()), (2, ""), "{args:?}: {}", said.err);
        assert!(said.err.starts_with(&format!("error: {words}")), "{args:?}: {}", said.err);
    }
}

#[test]
fn networks_that_nothing_tells_apart_are_refused() {
    let folder = folder(&[("compose.yaml", WEB)]);
    for (args, words) in [
        (&["diff", "compose.yaml"][..], "compose.yaml is not told apart from itself"),
        (&["diff", "compose.yaml", "--engine", "28"], "compose.yaml is not told apart from itself"),
        (
            &["diff", "compose.yaml", "--engine", "26", "--engine", "27", "--engine", "28"],
            "a third Engine, 28",
        ),
        (&["diff", "compose.yaml", "none.yaml"], "cannot read none.yaml: there is no such file"),
    ] {
        let said = run_in(folder.path(), args);
        assert_eq!((said.status, said.out.as_str()), (2, ""), "{args:?}: {}", said.err);
        assert!(said.err.starts_with(&format!("error: {words}")), "{args:?}: {}", said.err);
    }
}
