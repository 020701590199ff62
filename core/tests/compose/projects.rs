//! A project as a whole: its name, variables, profiles, order, `extends`, `include`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use seatrial_core::topology::compose::{self, Options};

use super::{joined, node, nodes, read, read_with};

fn env(pairs: &[(&str, &str)]) -> Options {
    let env = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Options { env, ..Options::default() }
}

#[test]
fn a_project_is_called_by_option_environment_file_or_folder() {
    let text = "services: { web: { image: nginx } }";
    let named = "name: Foo Bar\nservices: { web: { image: nginx } }";
    let name = |text, options: &Options| read_with(text, &[], options).unwrap().name;
    assert_eq!(name(text, &Options::default()), "demo");
    assert_eq!(name(named, &Options::default()), "foobar");
    assert_eq!(name(named, &env(&[("COMPOSE_PROJECT_NAME", "fromenv")])), "fromenv");
    let option = Options { project_name: Some("said".into()), ..env(&[("COMPOSE_PROJECT_NAME", "fromenv")]) };
    assert_eq!(name(named, &option), "said");
    let path = PathBuf::from("compose.yaml");
    let files = BTreeMap::from([(path.clone(), text.to_owned())]);
    let beside = |directory: &str| {
        let options = Options { directory: directory.into(), ..Options::default() };
        compose::read(std::slice::from_ref(&path), &files, &options).unwrap().name
    };
    assert_eq!((beside("/home/me/My Shop").as_str(), beside("").as_str()), ("myshop", "project"));
    let bad = Options { project_name: Some("Foo".into()), ..Options::default() };
    assert!(read_with(text, &[], &bad).unwrap_err().contains("invalid project name \"Foo\""));
    assert!(read("name: ---\nservices: {}").unwrap_err().contains("project name must not be empty"));
}

#[test]
fn the_environment_wins_over_the_env_file_beside_the_first_file() {
    let text = "services: { a: { image: x, hostname: '${A}-${B:-b}-${C}' } }";
    let others = [(".env", "A=file\nC=$A\n")];
    let hostname = |options: &Options| {
        let project = read_with(text, &others, options).unwrap();
        node(&project, "a").hostname.clone().unwrap()
    };
    assert_eq!(hostname(&Options::default()), "file-b-file");
    assert_eq!(hostname(&env(&[("A", "env")])), "env-b-env");
}

/// As `docker compose --env-file` (compose-go, dotenv.GetEnvFromFile).
#[test]
fn env_files_that_are_named_stand_in_place_of_the_one_beside_the_first_file() {
    let text = "services: { a: { image: x, hostname: '${A}-${B}-${C:-none}' } }\ninclude: [sub/b.yaml]";
    let others = [
        (".env", "C=not-read"),
        ("one", "A=one\nB=1"),
        ("two", "B=2$A"),
        ("sub/b.yaml", "services: { b: { image: x, hostname: '${A}-${C}' } }"),
        ("sub/.env", "A=sub\nC=sub"),
    ];
    let named = |files: &[&str], env: Options| Options {
        env_files: files.iter().map(|f| Path::new("demo").join(f)).collect(),
        ..env
    };
    let hostnames = |options: &Options| {
        let project = read_with(text, &others, options).unwrap();
        ["a", "b"].map(|name| node(&project, name).hostname.clone().unwrap())
    };
    assert_eq!(hostnames(&named(&["one", "two"], Options::default())), ["one-2one-none", "one-sub"]);
    assert_eq!(hostnames(&named(&["two", "one"], env(&[("A", "env")]))), ["env-1-none", "env-sub"]);
    let missing = read_with(text, &others, &named(&["one", "three"], Options::default())).unwrap_err();
    assert_eq!(missing, "--env-file: cannot read demo/three: there is no such file");
}

#[test]
fn a_variable_that_is_not_set_is_an_empty_string_and_a_warning_with_its_place() {
    let project = read("services:\n  a: { image: x, hostname: 'x$NAME' }").unwrap();
    assert_eq!(node(&project, "a").hostname.as_deref(), Some("x"));
    let warnings: Vec<_> = project.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        ["demo/compose.yaml:2:30: the variable NAME is not set; an empty string stands for it"]
    );
}

#[test]
fn services_with_a_profile_start_when_it_is_active() {
    let text = "services: { a: { image: x }, b: { image: x, profiles: [p, q] }, c: { image: x, depends_on: { b: { condition: service_started, required: false } } } }";
    let with = |profiles: &[&str], variables: &[(&str, &str)]| {
        let profiles: BTreeSet<String> = profiles.iter().map(|p| (*p).to_owned()).collect();
        let project = read_with(text, &[], &Options { profiles, ..env(variables) }).unwrap();
        project.containers.iter().map(|c| c.node.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(with(&[], &[]), ["a", "c"]);
    assert_eq!(with(&["q"], &[]), ["a", "b", "c"]);
    assert_eq!(with(&["*"], &[]), ["a", "b", "c"]);
    assert_eq!(with(&[], &[("COMPOSE_PROFILES", "z,p")]), ["a", "b", "c"]);
}

#[test]
fn containers_start_behind_those_they_need_and_else_as_written() {
    let text = "
services:
  web: { image: x, depends_on: [api] }
  cache: { image: x }
  api: { image: x, links: [db] }
  job: { image: x, network_mode: 'service:web', volumes_from: ['files:ro', 'container:other'] }
  db: { image: x, ipc: 'service:cache' }
  files: { image: x }";
    assert_eq!(nodes(&read(text).unwrap()), ["cache", "db", "api", "web", "files", "job"]);
}

#[test]
fn a_service_extends_another_of_its_file() {
    let text = "
services:
  base: { image: x, ports: ['80:80'], networks: [n], dns: 1.1.1.1, hostname: h, deploy: { replicas: 2 } }
  a: { extends: base, ports: ['80:80', '81:81'], networks: { m: }, dns: [2.2.2.2], deploy: { replicas: 1 }, hostname: }
  b: { extends: { service: a }, ports: !reset [], dns: !override [9.9.9.9] }
networks: { n: , m: }";
    let project = read(text).unwrap();
    let (a, b) = (node(&project, "a"), node(&project, "b"));
    assert_eq!((a.ports.len(), a.dns.len(), a.hostname.as_deref()), (2, 2, Some("h")));
    assert_eq!(joined(a), ["n", "m"]);
    assert_eq!((b.ports.len(), b.dns.len(), b.hostname.as_deref()), (0, 1, Some("h")));
    assert_eq!(nodes(&project), ["base.1", "base.2", "a", "b"]);
}

#[test]
fn a_service_extends_one_of_another_file_whose_paths_start_there() {
    let text = "services: { a: { extends: { file: '${DIR:-sub}/base.yaml', service: base }, hostname: q } }\nnetworks: { n: }";
    let others = [
        (
            "sub/base.yaml",
            "services: { base: { extends: { file: ../other.yaml, service: z }, networks: [n] } }\nnetworks: { n: { internal: true } }",
        ),
        ("other.yaml", "services: { z: { image: x, hostname: w, domainname: '${D:-d}' } }"),
    ];
    let project = read_with(text, &others, &Options::default()).unwrap();
    let a = node(&project, "a");
    assert_eq!((a.hostname.as_deref(), a.domainname.as_deref()), (Some("q"), Some("d")));
    assert!(!project.networks[0].internal, "of the other file only the service is taken");
}

#[test]
fn an_included_project_brings_its_parts_folder_and_variables() {
    let text = "include: [inc/compose.yaml]\nservices: { a: { image: x, depends_on: [b] } }";
    let others = [
        (
            "inc/compose.yaml",
            "services: { b: { image: x, hostname: '$V-$W', networks: [n, top] }, c: { image: x, extends: { file: base.yaml, service: c } } }\nnetworks: { n: , top: , default: { internal: true } }",
        ),
        ("inc/base.yaml", "services: { c: { image: x, hostname: '$V' } }"),
        ("inc/.env", "V=inner\nW=inner"),
        (".env", "W=outer"),
    ];
    let project = read_with(text, &others, &Options::default()).unwrap();
    assert_eq!(nodes(&project), ["b", "a", "c"]);
    assert_eq!(node(&project, "b").hostname.as_deref(), Some("inner-outer"));
    assert_eq!(node(&project, "c").hostname.as_deref(), Some("inner"));
    assert!(project.networks.iter().any(|n| n.name == "demo_default" && n.internal));
    assert!(project.networks.iter().any(|n| n.name == "demo_n"));
}

#[test]
fn an_include_names_several_files_a_folder_and_files_of_variables() {
    let text = "
include:
  - path: [inc.yaml, over.yaml]
    project_directory: ./other
    env_file: [e1, e2]
services: { a: { image: x } }";
    let others = [
        ("inc.yaml", "services: { b: { image: x, hostname: '$A$B$C', domainname: d } }"),
        ("over.yaml", "services: { b: { domainname: over } }"),
        ("e1", "A=1\nB=1"),
        ("e2", "B=2$A"),
        ("other/.env", "C=not read"),
    ];
    let project = read_with(text, &others, &Options::default()).unwrap();
    let b = node(&project, "b");
    assert_eq!((b.hostname.as_deref(), b.domainname.as_deref()), (Some("121"), Some("over")));
}

#[test]
fn the_same_part_may_be_included_twice_and_another_of_its_name_may_not() {
    let text = "include: [i1.yaml, i2.yaml]\nservices: { a: { image: x } }";
    let common = ("common.yaml", "services: { d: { image: x, ports: ['80:80'] } }\nnetworks: { n: {} }");
    let twice = [
        ("i1.yaml", "include: [common.yaml]\nservices: { b: { image: x } }"),
        ("i2.yaml", "include: [common.yaml]\nservices: { c: { image: x } }"),
        common,
    ];
    let project = read_with(text, &twice, &Options::default()).unwrap();
    assert_eq!(nodes(&project), ["a", "b", "d", "c"]);
    let other = [
        ("i1.yaml", "services: { b: { image: x } }\nnetworks: { n: {} }"),
        ("i2.yaml", "services: { c: { image: x, networks: [n] } }\nnetworks: { n: { internal: true } }"),
    ];
    let error = read_with(text, &other, &Options::default()).unwrap_err();
    assert_eq!(
        error,
        "demo/i2.yaml:2:13: 'n' of 'networks' conflicts with an included one (expected another name); the other at demo/i1.yaml:2:16"
    );
}

#[test]
fn includes_and_extends_go_no_deeper_than_their_limits() {
    let names: Vec<String> = (0..20).map(|i| format!("i{i}.yaml")).collect();
    let texts: Vec<String> = (0..20)
        .map(|i| format!("include: [i{}.yaml]\nservices: {{ s{i}: {{ image: x }} }}", i + 1))
        .collect();
    let others: Vec<(&str, &str)> =
        names.iter().map(String::as_str).zip(texts.iter().map(String::as_str)).collect();
    let error = read_with("include: [i0.yaml]", &others, &Options::default()).unwrap_err();
    assert_eq!(error, "demo/i14.yaml:1:11: more than 16 files that include one another");

    let services: String = (0..50).map(|i| format!("  s{i}: {{ extends: s{} }}\n", i + 1)).collect();
    let error = read(&format!("services:\n{services}  s50: {{ image: x }}\n")).unwrap_err();
    assert!(error.contains("more than 32 services that extend one another"), "{error}");

    let many: String = (0..5000).map(|i| format!("  s{i}: {{ extends: base }}\n")).collect();
    let labels: String = (0..1000).map(|i| format!("l{i}: x, ")).collect();
    let text = format!("services:\n  base: {{ image: x, labels: {{ {labels} }} }}\n{many}");
    let error = read(&text).unwrap_err();
    assert!(error.contains("more than 100000 values once"), "{error}");
}

#[test]
fn keys_inside_another_file_are_read_as_a_file_beside_it() {
    let source = seatrial_core::diagnostic::Source {
        name: "trials/a.trial.yaml".into(),
        text: "compose:\n  services: { a: { extends: { file: base.yaml, service: a }, hostname: '$H' }, b: { prots: [] } }".into(),
    };
    let root = seatrial_core::topology::yaml::parse(&std::sync::Arc::new(source)).unwrap();
    let files = BTreeMap::from([
        (PathBuf::from("trials/base.yaml"), "services: { a: { image: x, domainname: d } }".to_owned()),
        (PathBuf::from("trials/.env"), "H=h".to_owned()),
    ]);
    let read = |text: &str| {
        compose::read_inline(root.get("compose").unwrap(), Path::new(text), &files, &Options::default())
    };
    let error = read("trials").unwrap_err().to_string();
    assert_eq!(error, "trials/a.trial.yaml:2:85: unknown key 'prots' in a service (expected 'ports')");
}
