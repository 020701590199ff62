//! How the program is called, and how it is called wrongly; colours, widths, and a reader that leaves early.

use std::io::Read as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{Said, answer, folder, program, root, run, run_in};

const FILE: &str = "fixtures/compose/nextcloud-redis-mariadb.yaml";

#[test]
fn the_help_says_what_can_be_typed() {
    let mut all = String::new();
    for args in
        [vec![], vec!["check"], vec!["trace"], vec!["matrix"], vec!["diff"], vec!["snapshot"], vec!["plan"]]
    {
        let line = [args, vec!["--help"]].concat();
        all += &format!("$ seatrial {}\n{}\n", line.join(" "), answer(&line));
    }
    let vmtests = Command::new(env!("CARGO_BIN_EXE_vmtests")).arg("--help").env_clear().output().unwrap();
    all += &format!("$ vmtests --help\n{}\n", Said::from(vmtests).out);
    assert!(all.lines().all(|line| line.chars().count() <= 80), "{all}");
    insta::assert_snapshot!(all);
}

/// What is typed wrongly, and the first words of the answer.
const WRONG: [(&[&str], &str); 19] = [
    (&["matrix", "none.yaml"], "cannot read none.yaml: there is no such file"),
    (&["matrix", "docs"], "no compose file in docs"),
    (&["matrix", FILE, "-f", "none.yaml"], "cannot read none.yaml: there is no such file"),
    (&["matrix", "README.md"], "not YAML: "),
    (&["matrix", ""], "a value is required for '<FILE>'"),
    (&["matrix"], "the following required arguments were not provided:"),
    (
        &["matrix", FILE, "--engine", "22.06"],
        "invalid value '22.06' for '--engine <VERSION>': Engine 22.6 is not planned",
    ),
    (&["matrix", FILE, "--format", "xml"], "invalid value 'xml' for '--format <FORMAT>'"),
    (&["matrix", FILE, "-p", "Shop"], "invalid project name \"Shop\""),
    (&["trace", FILE], "the following required arguments were not provided:"),
    (&["trace", FILE, ""], "unexpected end of the line"),
    (&["trace", FILE, "mars -> nc:80/tcp"], "there is no node 'mars'"),
    (&["trace", FILE, "lan -> nc:80/tpc"], "unexpected 'tpc'"),
    (&["trace", FILE, "lan -> nc:80/tcp refused"], "unexpected 'refused'"),
    (&["check", "none.trial.yaml"], "cannot read none.trial.yaml: there is no such file"),
    (&["check", "docs"], "no trials below docs"),
    (&["check", "--lane", "cloud"], "invalid value 'cloud' for '--lane <LANE>'"),
    (&["plan", FILE, "--ns", "mars"], "there is no namespace 'mars'"),
    (&["sail"], "unrecognized subcommand 'sail'"),
];

#[test]
fn what_is_typed_wrongly_is_refused_with_status_2_and_no_answer() {
    for (args, words) in WRONG {
        let said = run(args);
        assert_eq!((said.status, said.out.as_str()), (2, ""), "{args:?}: {}", said.err);
        assert!(said.err.starts_with(&format!("error: {words}")), "{args:?}: {}", said.err);
    }
}

#[test]
fn a_mistake_in_a_probe_is_shown_where_it_stands() {
    let all: String = ["lan > nc:80/tcp", "lan -> nc:99999/tcp", "mars -> nc:80/tcp", ""]
        .map(|probe| run(&["trace", FILE, probe]).err)
        .join("\n");
    insta::assert_snapshot!(all, @r"
    error: unexpected '>'
     --> PROBE:1:5
      |
    1 | lan > nc:80/tcp
      |     ^
      |
      = help: expected '->' and a target, as in web -> db:5432/tcp

    seatrial: 1 error

    error: unexpected '99999'
     --> PROBE:1:11
      |
    1 | lan -> nc:99999/tcp
      |           ^^^^^
      |
      = help: expected a port, 1 to 65535

    seatrial: 1 error

    error: there is no node 'mars'
     --> PROBE:1:1
      |
    1 | mars -> nc:80/tcp
      | ^^^^
      |
      = help: expected one of host, lan, nc, redis, db

    seatrial: 1 error

    error: unexpected end of the line
    --> PROBE
     = help: expected a node

    seatrial: 1 error
    ");
}

#[test]
fn a_reader_who_leaves_early_is_no_error() {
    let mut child = program(&root(), &["plan", FILE, "--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut [0; 100]).unwrap();
    drop(out);
    let said = Said::from(child.wait_with_output().unwrap());
    assert_eq!(said.status, 0, "{}", said.err);
    assert!(said.err.lines().all(|line| line.starts_with("seatrial: assumed: ")), "{}", said.err);
}

#[test]
fn colours_are_for_a_terminal_or_for_who_asks_and_never_where_they_are_refused() {
    let with = |variables: &[(&str, &str)]| {
        let mut program = program(&root(), &["matrix", FILE]);
        Said::from(program.envs(variables.iter().copied()).output().unwrap()).out
    };
    let plain = with(&[]);
    assert!(!plain.contains('\x1b'));
    let coloured = with(&[("CLICOLOR_FORCE", "1")]);
    assert!(coloured.contains("\x1b[32mok"), "{coloured}");
    assert_eq!(with(&[("NO_COLOR", "1")]), plain);
    assert_eq!(with(&[("COLUMNS", "200")]), plain, "a file gets the same bytes everywhere");
}

#[test]
fn sources_that_do_not_fit_in_80_columns_are_numbered() {
    let services: Vec<String> =
        (1..=30).map(|i| format!("  a-service-with-a-long-name-{i}: {{ image: x }}\n")).collect();
    let folder = folder(&[("compose.yaml", &format!("services:\n{}", services.concat()))]);
    let said = run_in(folder.path(), &["matrix", "compose.yaml"]);
    let wide: Vec<&str> = said.out.lines().filter(|l| l.chars().count() > 80).collect();
    assert!(wide.is_empty(), "{wide:#?}");
    assert!(said.out.contains("1 host · 2 lan · 3 a-service-with-a-long-name-1"), "{}", said.out);
}

#[test]
fn a_matrix_and_a_trace_are_json_documents_in_the_words_of_a_trial() {
    let json = |args: &[&str]| -> Value {
        serde_json::from_str(&answer(&[args, &["--format", "json"]].concat())).unwrap()
    };
    let matrix = ["matrix", "fixtures/compose/apache-php.yaml", "--format", "json"];
    insta::assert_snapshot!(answer(&matrix));
    let matrix = json(&matrix[..2]);
    let trace = json(&["trace", "fixtures/compose/apache-php.yaml", "lan -> web:80/tcp"]);
    assert_eq!(trace["outcome"], "unknown-name");
    assert_eq!(trace["trace"]["hops"][0]["event"]["send"]["node"], "lan");
    for reason in matrix["reasons"].as_array().unwrap() {
        let probe = reason["example"].as_str().unwrap();
        let traced = json(&["trace", "fixtures/compose/apache-php.yaml", probe]);
        assert_eq!(traced["outcome"], reason["outcome"], "{probe}");
    }
}

/// A matrix with reasons and assumptions, with assumptions alone, and with neither.
#[test]
fn one_empty_line_stands_between_the_parts_of_an_answer() {
    let trial = "title: t\ncompose: { services: {} }\nexpect: [host -> 127.0.0.1/icmp reaches host]\n";
    let folder = folder(&[("e.yaml", "services: {}\n"), ("t.trial.yaml", trial)]);
    for file in [root().join(FILE).to_str().unwrap(), "e.yaml", "t.trial.yaml"] {
        let out = run_in(folder.path(), &["matrix", file]).out;
        assert!(!out.contains("\n\n\n") && !out.ends_with("\n\n"), "{out}");
    }
}

#[test]
fn a_question_and_an_answer_that_do_not_fit_in_a_line_take_two() {
    let services = "services: { a-service-with-quite-a-long-name: { image: x, ports: ['80'], networks: [n] } }\nnetworks: { n: { enable_ipv6: true, ipam: { config: [{ subnet: 'fd00:1:2::/64' }] } } }\n";
    let folder = folder(&[("c.yaml", services)]);
    let out = run_in(folder.path(), &["trace", "c.yaml", "host -> [fd00:1:2::2]:80/tcp"]).out;
    assert!(out.starts_with("host -> [fd00:1:2::2]:80/tcp\n    reaches a-service-with-quite-a-long-name:80 from fd00:1:2::1\n\n"), "{out}");
}

#[test]
fn a_probe_that_sends_nothing_says_so() {
    let out = answer(&["trace", "fixtures/trials/names/extra-hosts.trial.yaml", "none -> web:80/tcp"]);
    assert_eq!(out, "none -> web:80/tcp  unknown-name\n\nno packet was sent\n");
}
