//! What the README shows is what the program prints.

use std::path::Path;
use std::process::Command;

/// The words of a command line, single quotes kept together.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (i, part) in line.split('\'').enumerate() {
        if i % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

#[test]
fn every_example_of_the_readme_is_what_the_program_prints() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let path = root.join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let mut parts = readme.split("```console\n$ seatrial ");
    let mut real = parts.next().unwrap().to_owned();
    for example in parts {
        let (line, rest) = example.split_once('\n').unwrap();
        let (_, rest) = rest.split_once("```").unwrap();
        let mut program = Command::new(env!("CARGO_BIN_EXE_seatrial"));
        let output =
            program.args(words(line)).current_dir(root).env_remove("SEATRIAL_SEED").output().unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        real += &format!("```console\n$ seatrial {line}\n{output}```{rest}");
    }
    if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
        std::fs::write(path, real).unwrap();
    } else {
        assert_eq!(readme, real, "scripts/bless.sh rewrites the examples");
    }
}

#[test]
fn every_option_that_the_readme_types_is_one_of_the_programs() {
    let readme = include_str!("../../README.md");
    let mut typed = 0;
    for line in readme.lines().filter_map(|line| line.strip_prefix("seatrial ")) {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let help = Command::new(env!("CARGO_BIN_EXE_seatrial")).args([command, "--help"]).output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        for option in rest.split_whitespace().filter(|word| word.starts_with("--") && *word != "--") {
            assert!(help.contains(&format!("{option} <")), "seatrial {command} has no {option}");
            typed += 1;
        }
    }
    assert!(typed >= 8, "{typed}");
}
