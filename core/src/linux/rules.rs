//! Packet filter rules, each family's written at once by the tool they are for.

use std::io;
use std::process::{Output, Stdio};

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::space::Space;
use super::{Error, net};
use crate::addr::Family;
use crate::rules::{Backend, Ruleset, Table, iptables, nft};

/// What is in the tables that rules are written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// Nothing. To make room all the same costs nft some 10 ms: when it ends it waits until what has gone is freed.
    Nothing,
    /// What the rules take the place of.
    Others,
}

/// Writes rules to their tables, each family's at once.
///
/// # Errors
/// Where the tool is missing, or refuses a line: then none of that table's rules has been written.
pub async fn restore(space: &Space, ns: &str, rules: &Ruleset, before: Before) -> Result<(), Error> {
    let program = match (rules.backend, rules.family) {
        (Backend::Iptables, Family::V4) => "iptables-restore",
        (Backend::Iptables, Family::V6) => "ip6tables-restore",
        (Backend::Nft, _) => {
            let unwritable =
                |e: nft::Unwritable| Error::words("write", format!("rules in {ns}"), e.to_string());
            let room = match before {
                Before::Nothing => String::new(),
                Before::Others => nft::room(rules),
            };
            let script = room + &nft::script(rules).map_err(unwritable)?;
            return run(space, ns, "nft", &["-f", "-"], &script).await;
        }
    };
    net::fill(space, ns, rules)?;
    // The lock of iptables-legacy is one for all namespaces.
    run(space, ns, program, &["--wait"], &iptables::save(rules)).await
}

/// The rules of a family that stand in a network namespace, as text.
///
/// # Errors
/// Where the tool is missing or fails.
pub(super) fn saved(space: &Space, ns: &str, family: Family) -> Result<String, Error> {
    let program = match family {
        Family::V4 => "iptables-save",
        Family::V6 => "ip6tables-save",
    };
    read(space, ns, program, &[])
}

/// One table of nft in a network namespace, as text without counts.
///
/// # Errors
/// Where the tool is missing or fails.
pub(super) fn listed(space: &Space, ns: &str, family: &str, table: &str) -> Result<String, Error> {
    read(space, ns, "nft", &["--stateless", "list", "table", family, table])
}

/// What a tool says of a network namespace.
fn read(space: &Space, ns: &str, program: &str, args: &[&str]) -> Result<String, Error> {
    let object = || format!("rules in {ns} with {program}");
    let run = || std::process::Command::new(program).args(args).stdin(Stdio::null()).output();
    let output = space.inside(run).flatten().map_err(|e| failed(program, "read", object(), &e))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::words("read", object(), String::from_utf8_lossy(&output.stderr).trim()))
}

/// A tool that could not be run, with the package that brings it.
fn failed(program: &str, operation: &'static str, object: String, e: &io::Error) -> Error {
    let error = Error::new(operation, object, e);
    let package = if program == "nft" { "nftables" } else { "iptables" };
    if e.kind() == io::ErrorKind::NotFound { error.missing(format!("install {package}")) } else { error }
}

/// The same tables with nothing in them.
#[must_use]
pub fn emptied(rules: &Ruleset) -> Ruleset {
    let empty = |table: &Table| match rules.backend {
        Backend::Iptables => iptables::empty_table(&table.name),
        Backend::Nft => Table { name: table.name.clone(), maps: Vec::new(), chains: Vec::new() },
    };
    Ruleset { tables: rules.tables.iter().map(empty).collect(), ..*rules }
}

/// Runs a tool in a network namespace, with a text for its standard input.
///
/// # Errors
/// Where it is missing or fails, with the line of the text that it names.
pub async fn run(space: &Space, ns: &str, program: &str, args: &[&str], text: &str) -> Result<(), Error> {
    let object = || format!("rules in {ns} with {program}");
    let output =
        feed(space, program, args, text).await.map_err(|e| failed(program, "write", object(), &e))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::words("write", object(), format!("{}{}", said.trim(), named_line(&said, text))))
}

async fn feed(space: &Space, program: &str, args: &[&str], text: &str) -> io::Result<Output> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = space.inside(|| command.spawn())??;
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(text.as_bytes()).await {
            // It has seen enough, and says why.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {}
            written => written?,
        }
    }
    child.wait_with_output().await
}

/// The line of a text that a tool's words name: `line 3 failed`.
fn named_line(said: &str, text: &str) -> String {
    let number = said.split_once("line").and_then(|(_, rest)| {
        let digits: String =
            rest.trim_start_matches([':', ' ']).chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<usize>().ok()
    });
    let line = number.and_then(|n| text.lines().nth(n.checked_sub(1)?));
    line.map(|line| format!(" ({line})")).unwrap_or_default()
}
