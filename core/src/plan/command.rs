//! What a person types while a topology runs: one `iptables` command, made in the rules that stand.

use crate::addr::Family;
use crate::rules::iptables::{base_chains, parse, save};
use crate::rules::{Backend, Chain, Rule, Ruleset, Table};

/// One command: whose rules, which table, and the words behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    /// `iptables` or `ip6tables`.
    pub(super) family: Family,
    table: String,
    words: Vec<String>,
}

impl Command {
    /// Reads `iptables [-t TABLE] -A|-I|-D|-F|-N|-P …`.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let family = match words.next() {
            Some("iptables") => Family::V4,
            Some("ip6tables") => Family::V6,
            Some(_) | None => return Err(format!("'{text}' is no command of iptables or ip6tables")),
        };
        let (mut table, mut rest) = ("filter".to_owned(), Vec::new());
        while let Some(word) = words.next() {
            match word {
                "-t" | "--table" => table = words.next().unwrap_or_default().to_owned(),
                "-w" | "--wait" => {}
                word => rest.push(word.to_owned()),
            }
        }
        if base_chains(&table).is_empty() {
            return Err(format!("'{table}' is no table of iptables"));
        }
        Ok(Self { family, table, words: rest })
    }

    /// The rules after the command; `before` are those of its family, if there are any.
    pub(super) fn run(&self, before: Option<&Ruleset>) -> Result<Ruleset, String> {
        match self.words.first().map(String::as_str) {
            Some("-A" | "--append" | "-I" | "--insert" | "-N" | "--new-chain" | "-P" | "--policy") => {
                self.with_line(before, &self.words.join(" "))
            }
            Some("-D" | "--delete") => self.delete(before),
            Some("-F" | "--flush") => self.flush(before),
            Some(other) => Err(format!("'{other}': only -A, -I, -D, -F, -N and -P are planned")),
            None => Err("a command: -A, -I, -D, -F, -N or -P".to_owned()),
        }
    }

    /// The rules with one line more at the end of the command's table.
    fn with_line(&self, before: Option<&Ruleset>, line: &str) -> Result<Ruleset, String> {
        let mut text = String::new();
        let mut open = false;
        for old in before.map(save).unwrap_or_default().lines() {
            open = open || old == format!("*{}", self.table);
            if open && old == "COMMIT" {
                text.push_str(&format!("{line}\n"));
                open = false;
            }
            text.push_str(&format!("{old}\n"));
        }
        if !text.contains(&format!("*{}\n", self.table)) {
            text.push_str(&format!("*{}\n{line}\nCOMMIT\n", self.table));
        }
        parse(&text, self.family).map_err(|e| format!("found {}, expected {}", e.found, e.expected))
    }

    /// `-D CHAIN N` or `-D CHAIN RULE`.
    fn delete(&self, before: Option<&Ruleset>) -> Result<Ruleset, String> {
        let chain = self.words.get(1).cloned().unwrap_or_default();
        let missing = || format!("there is no such rule in {chain}");
        let mut ruleset = self.standing(before);
        let rest = self.words.get(2..).unwrap_or_default();
        let place = match rest {
            [number] if number.parse::<usize>().is_ok() => {
                number.parse::<usize>().ok().and_then(|n| n.checked_sub(1))
            }
            rest => {
                let added = self.with_line(before, &format!("-A {chain} {}", rest.join(" ")))?;
                let wanted = self.chain(&added, &chain).and_then(|c| c.rules.last());
                let rules = self.chain(&ruleset, &chain).map(|c| &c.rules);
                rules.zip(wanted).and_then(|(rules, wanted)| rules.iter().position(|r| same(r, wanted)))
            }
        };
        let place = place.ok_or_else(missing)?;
        let rules = self.chain_mut(&mut ruleset, &chain).map(|c| &mut c.rules).ok_or_else(missing)?;
        if place >= rules.len() {
            return Err(missing());
        }
        rules.remove(place);
        Ok(ruleset)
    }

    /// `-F [CHAIN]`.
    fn flush(&self, before: Option<&Ruleset>) -> Result<Ruleset, String> {
        let mut ruleset = self.standing(before);
        let wanted = self.words.get(1);
        if let Some(chain) = wanted.filter(|name| self.chain(&ruleset, name).is_none()) {
            return Err(format!("there is no chain {chain} in {}", self.table));
        }
        let table = ruleset.tables.iter_mut().find(|t| t.name == self.table);
        let chains = table.into_iter().flat_map(|t| &mut t.chains);
        chains.filter(|c| wanted.is_none_or(|w| *w == c.name)).for_each(|c| c.rules.clear());
        Ok(ruleset)
    }

    fn standing(&self, before: Option<&Ruleset>) -> Ruleset {
        let empty = || Ruleset { family: self.family, backend: Backend::Iptables, tables: Vec::new() };
        before.cloned().unwrap_or_else(empty)
    }

    fn chain<'a>(&self, ruleset: &'a Ruleset, name: &str) -> Option<&'a Chain> {
        ruleset.table(&self.table).and_then(|t| t.chain(name))
    }

    fn chain_mut<'a>(&self, ruleset: &'a mut Ruleset, name: &str) -> Option<&'a mut Chain> {
        let table: Option<&mut Table> = ruleset.tables.iter_mut().find(|t| t.name == self.table);
        table.and_then(|t| t.chains.iter_mut().find(|c| c.name == name))
    }
}

/// Whether two rules are one, whatever they counted.
fn same(a: &Rule, b: &Rule) -> bool {
    a.matches == b.matches && a.target == b.target
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(commands: &[&str]) -> Result<String, String> {
        let mut rules: Option<Ruleset> = None;
        for text in commands {
            rules = Some(Command::read(text)?.run(rules.as_ref())?);
        }
        let saved = rules.as_ref().map(save).unwrap_or_default();
        let lines = saved.lines().filter(|l| l.starts_with("-A") || l.contains("DROP"));
        Ok(lines.collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn commands_are_made_one_after_the_other() {
        let rules = run(&[
            "iptables -A INPUT -p tcp --dport 22 -j ACCEPT",
            "iptables -t filter -I INPUT -i lo -j ACCEPT",
            "iptables -P INPUT DROP",
            "iptables -t nat -A PREROUTING -p tcp --dport 80 -j REDIRECT --to-ports 8080",
        ]);
        let expected = "\
:INPUT DROP [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8080";
        assert_eq!(rules.unwrap(), expected);
    }

    #[test]
    fn a_rule_is_deleted_by_what_it_says_or_by_its_number() {
        let two = ["iptables -A FORWARD -s 10.0.0.1 -j DROP", "iptables -A FORWARD -s 10.0.0.2 -j ACCEPT"];
        let by_text = run(&[two[0], two[1], "iptables -D FORWARD -s 10.0.0.1/32 -j DROP"]).unwrap();
        assert_eq!(by_text, "-A FORWARD -s 10.0.0.2/32 -j ACCEPT");
        assert_eq!(run(&[two[0], two[1], "iptables -D FORWARD 1"]).unwrap(), by_text);
        assert_eq!(run(&[two[0], two[1], "iptables -F FORWARD"]).unwrap(), "");
    }

    #[test]
    fn what_is_no_command_is_refused() {
        for (text, why) in [
            ("nft add rule", "no command of iptables"),
            ("iptables -t none -F", "no table of iptables"),
            ("iptables -X", "only -A, -I, -D, -F, -N and -P are planned"),
            ("iptables -D INPUT 3", "there is no such rule in INPUT"),
            ("iptables -F NONE", "there is no chain NONE"),
            ("iptables -A INPUT -j NOWHERE", "expected"),
        ] {
            let error = run(&[text]).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
