//! Tables, chains and their rules, line by line.

use super::lex::{self, Word};
use super::rule::{self, Scope};
use super::{ParseError, TABLES, base_chains};
use crate::addr::Family;
use crate::rules::{Backend, Chain, Counters, Policy, Rule, Ruleset, Table};

/// Reads what `iptables-save` or `ip6tables-save` wrote, or what their `-restore` would take.
///
/// # Errors
/// The first place that is no rule, no chain and no table, or that refers to a chain not declared above it.
pub fn parse(text: &str, family: Family) -> Result<Ruleset, ParseError> {
    let mut reader = Reader { family, tables: Vec::new(), open: None };
    let mut last = 0;
    for (at, line) in text.lines().enumerate() {
        last = at + 1;
        if !line.starts_with('#') {
            reader.line(&lex::words(line, last)?)?;
        }
    }
    match reader.open {
        Some(table) => Err(ParseError {
            line: last + 1,
            column: 1,
            found: "the end of the text".to_owned(),
            expected: format!("COMMIT at the end of table {}", table.name),
        }),
        None => Ok(Ruleset { family, backend: Backend::Iptables, tables: reader.tables }),
    }
}

struct Reader {
    family: Family,
    tables: Vec<Table>,
    /// The table between its `*` and its COMMIT.
    open: Option<Table>,
}

impl Reader {
    fn line(&mut self, words: &[Word<'_>]) -> Result<(), ParseError> {
        let Some((first, rest)) = words.split_first() else { return Ok(()) };
        if let Some(name) = first.raw.strip_prefix('*') {
            return self.begin(first, name);
        }
        let Some(table) = &mut self.open else {
            return Err(first.expected("a table: '*filter', '*nat', '*raw', '*mangle' or '*security'"));
        };
        if let Some(name) = first.raw.strip_prefix(':') {
            return declare(table, first, name, rest);
        }
        match first.raw {
            "COMMIT" => {
                self.tables.extend(self.open.take());
                Ok(())
            }
            _ if first.raw.starts_with('[') => {
                let counters = counters(first)?;
                command(self.family, table, rest, first, Some(counters))
            }
            _ => command(self.family, table, words, first, None),
        }
    }

    fn begin(&mut self, word: &Word<'_>, name: &str) -> Result<(), ParseError> {
        if self.open.is_some() {
            return Err(word.expected("COMMIT before the next table"));
        }
        if TABLES.iter().all(|t| t.name != name) {
            return Err(word.expected("one of the tables filter, nat, raw, mangle, security"));
        }
        if self.tables.iter().any(|t| t.name == name) {
            return Err(word.expected("each table only once"));
        }
        self.open = Some(empty_table(name));
        Ok(())
    }
}

/// A table with its base chains, as the kernel makes it.
#[must_use]
pub fn empty_table(name: &str) -> Table {
    let chain = |base: crate::rules::Base| Chain {
        name: base.hook.chain().to_owned(),
        base: Some(base),
        counters: Counters::default(),
        rules: Vec::new(),
    };
    Table {
        name: name.to_owned(),
        maps: Vec::new(),
        chains: base_chains(name).into_iter().map(chain).collect(),
    }
}

/// `:CHAIN POLICY [PACKETS:BYTES]`.
fn declare(table: &mut Table, word: &Word<'_>, name: &str, rest: &[Word<'_>]) -> Result<(), ParseError> {
    let Some((policy, rest)) = rest.split_first() else {
        return Err(word.expected("a policy behind the chain: ACCEPT, DROP, or - for a chain of one's own"));
    };
    let counters = match rest {
        [] => Counters::default(),
        [counts] => counters(counts)?,
        [_, extra, ..] => return Err(extra.expected("the end of the line")),
    };
    if policy.raw == "-" {
        let chain = new_chain(table, word, name)?;
        chain.counters = counters;
        return Ok(());
    }
    set_policy(table, word, name, policy, counters)
}

fn new_chain<'t>(table: &'t mut Table, word: &Word<'_>, name: &str) -> Result<&'t mut Chain, ParseError> {
    if name.is_empty() || name.len() > 28 || name.starts_with(['-', '!']) || super::grammar::is_target(name) {
        return Err(word.expected("a chain's name of 1 to 28 bytes that is no target's"));
    }
    if table.chains.iter().any(|c| c.name == name) {
        return Err(word.expected("a chain that the table does not have yet"));
    }
    let chain = Chain { name: name.to_owned(), base: None, counters: Counters::default(), rules: Vec::new() };
    let at = table.chains.len();
    table.chains.push(chain);
    table.chains.get_mut(at).ok_or_else(|| word.expected("room for a chain"))
}

fn set_policy(
    table: &mut Table,
    word: &Word<'_>,
    name: &str,
    policy: &Word<'_>,
    counters: Counters,
) -> Result<(), ParseError> {
    let chain = table.chains.iter_mut().find(|c| c.name == name);
    let Some((base, count)) = chain.and_then(|c| Some((c.base.as_mut()?, &mut c.counters))) else {
        return Err(
            word.expected(format!("a built-in chain of table {}, which alone has a policy", table.name))
        );
    };
    base.policy = match policy.raw {
        "ACCEPT" => Policy::Accept,
        "DROP" => Policy::Drop,
        _ => return Err(policy.expected("ACCEPT or DROP")),
    };
    *count = counters;
    Ok(())
}

/// `[PACKETS:BYTES]`.
fn counters(word: &Word<'_>) -> Result<Counters, ParseError> {
    let inner = word.raw.strip_prefix('[').and_then(|t| t.strip_suffix(']')).and_then(|t| t.split_once(':'));
    let counters = inner.and_then(|(packets, bytes)| {
        Some(Counters { packets: packets.parse().ok()?, bytes: bytes.parse().ok()? })
    });
    counters.ok_or_else(|| word.expected("counters: [PACKETS:BYTES]"))
}

/// `-A CHAIN …`, `-I CHAIN [N] …`, `-N CHAIN`, `-P CHAIN POLICY`.
fn command(
    family: Family,
    table: &mut Table,
    words: &[Word<'_>],
    first: &Word<'_>,
    counters: Option<Counters>,
) -> Result<(), ParseError> {
    let expected = "a rule ('-A CHAIN …'), a chain (':CHAIN …'), or COMMIT";
    let [operation, chain, rest @ ..] = words else { return Err(first.expected(expected)) };
    match operation.raw {
        "-4" | "--ipv4" | "-6" | "--ipv6" => match (family, operation.raw) {
            (Family::V4, "-4" | "--ipv4") | (Family::V6, "-6" | "--ipv6") => {
                command(family, table, words.get(1..).unwrap_or_default(), first, counters)
            }
            (Family::V4 | Family::V6, _) => Ok(()),
        },
        "-A" | "--append" => {
            let rules = rules(family, table, chain, rest, counters)?;
            chain_mut(table, chain)?.rules.extend(rules);
            Ok(())
        }
        "-I" | "--insert" => {
            let number = rest.first().and_then(|w| w.raw.parse::<usize>().ok());
            let rest = if number.is_some() { rest.get(1..).unwrap_or_default() } else { rest };
            let rules = rules(family, table, chain, rest, counters)?;
            let chain_rules = &mut chain_mut(table, chain)?.rules;
            let at = number.unwrap_or(1).checked_sub(1).filter(|at| *at <= chain_rules.len());
            let at = at.ok_or_else(|| operation.expected("a number from 1 to one past the chain's rules"))?;
            for rule in rules {
                chain_rules.insert(at, rule);
            }
            Ok(())
        }
        "-N" | "--new-chain" => new_chain(table, chain, &chain.text).map(|_| ()),
        "-P" | "--policy" => match rest {
            [policy] => set_policy(table, chain, &chain.text, policy, Counters::default()),
            _ => Err(chain.expected("ACCEPT or DROP behind the chain")),
        },
        _ => Err(operation.expected(expected)),
    }
}

fn chain_mut<'t>(table: &'t mut Table, name: &Word<'_>) -> Result<&'t mut Chain, ParseError> {
    let expected =
        format!("a chain that table {} declares above (as in ':{} - [0:0]')", table.name, name.text);
    table.chains.iter_mut().find(|c| c.name == name.text).ok_or_else(|| name.expected(expected))
}

fn rules(
    family: Family,
    table: &mut Table,
    chain: &Word<'_>,
    words: &[Word<'_>],
    counters: Option<Counters>,
) -> Result<Vec<Rule>, ParseError> {
    chain_mut(table, chain)?;
    let declared = |name: &str| table.chains.iter().any(|c| c.name == name);
    let scope = Scope { family, chain: &chain.text, declared: &declared };
    let mut rules = rule::rules(&scope, words)?;
    for rule in &mut rules {
        rule.counters = rule.counters.or(counters);
    }
    Ok(rules)
}
