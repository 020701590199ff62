//! Commands and blocks, one after the other.

use std::collections::BTreeSet;

use super::Draft;
use super::draft::{ChainDraft, Scope, SetDraft};
use crate::addr::{Family, IfName};
use crate::rules::iptables::ParseError;
use crate::rules::nft::words::{Reader, Word};
use crate::rules::{Base, Hook, Policy, Table};

/// The tables that a text makes.
#[derive(Debug, Default)]
pub(super) struct Document<'a>(Vec<Draft<'a>>);

/// What a command does with what it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Add,
    Insert,
    Delete,
    Flush,
}

impl<'a> Document<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, ParseError> {
        let mut document = Self::default();
        let mut reader = Reader::of(text)?;
        while reader.at_something() {
            document.command(&mut reader)?;
            reader.end()?;
        }
        Ok(document)
    }

    /// The tables of a family.
    pub(super) fn tables(
        &self,
        family: Family,
        devices: &mut BTreeSet<IfName>,
    ) -> Result<Vec<Table>, ParseError> {
        let seen = self.0.iter().filter(|draft| draft.scope.has(family));
        seen.map(|draft| draft.table(family, devices)).collect()
    }

    /// Whether all tables are of one family.
    pub(super) fn only(&self, scope: Scope) -> Result<(), ParseError> {
        match self.0.iter().find(|draft| draft.scope != scope) {
            Some(other) => Err(other.at.expected(format!("a table of family {}", scope.name()))),
            None => Ok(()),
        }
    }

    fn command(&mut self, reader: &mut Reader<'a>) -> Result<(), ParseError> {
        let verb = match reader.peek() {
            "add" | "create" => Verb::Add,
            "insert" => Verb::Insert,
            "delete" | "destroy" => Verb::Delete,
            "flush" => Verb::Flush,
            _ => return self.object(Verb::Add, reader),
        };
        reader.word()?;
        self.object(verb, reader)
    }

    fn object(&mut self, verb: Verb, reader: &mut Reader<'a>) -> Result<(), ParseError> {
        let word = reader.word()?;
        match (verb, word.text) {
            (Verb::Flush, "ruleset") => {
                let family = reader.rest();
                self.0.retain(|draft| family.first().is_some_and(|only| only.text != draft.scope.name()));
                Ok(())
            }
            (_, "table") => self.table(verb, reader),
            (_, "chain") => self.chain(verb, reader),
            (Verb::Add | Verb::Insert, "rule") => self.rule(verb, reader),
            (Verb::Delete, "rule") => Err(word.expected(
                "a chain to flush: a rule is deleted by its handle, which the kernel gives and no text has",
            )),
            (_, "set" | "map") => self.set(verb, reader),
            (Verb::Add | Verb::Delete, "element") => self.element(verb, reader),
            _ => Err(word.expected("table, chain, rule, set, map or element")),
        }
    }

    /// `[FAMILY] NAME`.
    fn named(&self, reader: &mut Reader<'a>) -> Result<(Scope, Word<'a>), ParseError> {
        let scope = match reader.peek() {
            "ip" => Scope::Ip,
            "ip6" => Scope::Ip6,
            "inet" => Scope::Inet,
            "arp" | "bridge" | "netdev" => {
                return Err(reader.word()?.expected("ip, ip6 or inet: other families are not modelled"));
            }
            // man 8 nft, ADDRESS FAMILIES: where none is named it is ip.
            _ => return Ok((Scope::Ip, named_word(reader)?)),
        };
        reader.word()?;
        Ok((scope, named_word(reader)?))
    }

    /// The place of a table that must be there.
    fn standing(&mut self, reader: &mut Reader<'a>) -> Result<&mut Draft<'a>, ParseError> {
        let (scope, name) = self.named(reader)?;
        let there = self.0.iter_mut().find(|draft| draft.scope == scope && draft.name == name.text);
        there.ok_or_else(|| name.expected(format!("a table of family {} that is there", scope.name())))
    }

    fn table(&mut self, verb: Verb, reader: &mut Reader<'a>) -> Result<(), ParseError> {
        if matches!(verb, Verb::Delete | Verb::Flush) {
            let (scope, name) = self.named(&mut reader.clone())?;
            let draft = self.standing(reader)?;
            if verb == Verb::Flush {
                draft.chains.iter_mut().for_each(|chain| chain.rules.clear());
            } else {
                self.0.retain(|draft| (draft.scope, draft.name) != (scope, name.text));
            }
            return Ok(());
        }
        let (scope, at) = self.named(reader)?;
        let place = self.0.iter().position(|draft| draft.scope == scope && draft.name == at.text);
        let place = place.unwrap_or_else(|| {
            let (sets, order, chains) = Default::default();
            self.0.push(Draft { scope, name: at.text, at, sets, order, chains });
            self.0.len() - 1
        });
        let Some(draft) = self.0.get_mut(place) else { return Ok(()) };
        if !reader.take("{") {
            return Ok(());
        }
        while let Some(word) = reader.block()? {
            table_line(draft, word, reader)?;
        }
        Ok(())
    }

    fn chain(&mut self, verb: Verb, reader: &mut Reader<'a>) -> Result<(), ParseError> {
        let draft = self.standing(reader)?;
        match verb {
            Verb::Add | Verb::Insert => chain(draft, reader),
            Verb::Delete | Verb::Flush => {
                let place = chain_place(draft, reader)?;
                if verb == Verb::Flush {
                    draft.chains.get_mut(place).into_iter().for_each(|chain| chain.rules.clear());
                } else {
                    draft.chains.remove(place);
                }
                Ok(())
            }
        }
    }

    fn rule(&mut self, verb: Verb, reader: &mut Reader<'a>) -> Result<(), ParseError> {
        let draft = self.standing(reader)?;
        let place = chain_place(draft, reader)?;
        let Some(chain) = draft.chains.get_mut(place) else { return Ok(()) };
        let mut at = if verb == Verb::Insert { 0 } else { chain.rules.len() };
        match reader.peek() {
            "position" | "handle" => {
                let why = "a rule, or 'index': handles are the kernel's, and no text has them";
                return Err(reader.word()?.expected(why));
            }
            "index" => {
                reader.word()?;
                let before = usize::from(verb == Verb::Add);
                let last = chain.rules.len();
                at = reader.one_of("the index of a rule that is there", |text| {
                    text.parse::<usize>().ok().filter(|n| *n < last).map(|n| n + before)
                })?;
            }
            _ => {}
        }
        chain.rules.insert(at, reader.rest());
        Ok(())
    }

    fn set(&mut self, verb: Verb, reader: &mut Reader<'a>) -> Result<(), ParseError> {
        let draft = self.standing(reader)?;
        match verb {
            Verb::Add | Verb::Insert => set(draft, reader),
            Verb::Delete | Verb::Flush => {
                let name = reader.name()?;
                if verb == Verb::Flush {
                    draft.sets.get_mut(name).into_iter().for_each(|set| set.elements.clear());
                } else {
                    draft.sets.remove(name);
                }
                Ok(())
            }
        }
    }

    fn element(&mut self, verb: Verb, reader: &mut Reader<'a>) -> Result<(), ParseError> {
        let draft = self.standing(reader)?;
        let sets = &mut draft.sets;
        let word = named_word(reader)?;
        let set = sets.get_mut(word.text).ok_or_else(|| word.expected("a set or a map that is there"))?;
        let elements = reader.elements()?;
        // A map's element goes by its key alone.
        let texts = |element: &[Word<'a>]| -> Vec<&str> {
            element.iter().map(|w| w.text).take_while(|text| *text != ":").collect()
        };
        for element in elements {
            set.elements.retain(|old| texts(old) != texts(&element));
            if verb == Verb::Add {
                set.elements.push(element);
            }
        }
        Ok(())
    }
}

fn named_word<'a>(reader: &mut Reader<'a>) -> Result<Word<'a>, ParseError> {
    let at = reader.clone().word()?;
    reader.name()?;
    Ok(at)
}

fn chain_place<'a>(draft: &Draft<'a>, reader: &mut Reader<'a>) -> Result<usize, ParseError> {
    let name = named_word(reader)?;
    let there = draft.chains.iter().position(|chain| chain.name == name.text);
    there.ok_or_else(|| name.expected("a chain that is there"))
}

/// What stands in a table's block.
fn table_line<'a>(draft: &mut Draft<'a>, word: Word<'a>, reader: &mut Reader<'a>) -> Result<(), ParseError> {
    match word.text {
        "chain" => chain(draft, reader)?,
        "set" | "map" => set(draft, reader)?,
        "comment" => _ = reader.word()?,
        "flags" => {
            if let Some(dormant) = reader.rest().iter().find(|flag| flag.text == "dormant") {
                return Err(dormant.expected("a table that is awake: others are not modelled"));
            }
        }
        _ => return Err(word.expected("a chain, a set or a map")),
    }
    reader.end()
}

/// `NAME { type … hook … priority … ; policy … ; RULES }`; a chain that is there goes on.
fn chain<'a>(draft: &mut Draft<'a>, reader: &mut Reader<'a>) -> Result<(), ParseError> {
    let name = reader.name()?;
    let place = draft.chains.iter().position(|chain| chain.name == name).unwrap_or_else(|| {
        draft.chains.push(ChainDraft { name, base: None, rules: Vec::new() });
        draft.chains.len() - 1
    });
    let Some(chain) = draft.chains.get_mut(place) else { return Ok(()) };
    if !reader.take("{") {
        return Ok(());
    }
    while let Some(word) = reader.block()? {
        match word.text {
            "type" => chain.base = Some(base(reader)?),
            "policy" => {
                let policy = policy(reader)?;
                let base = chain.base.as_mut().ok_or_else(|| word.expected("a base chain's type first"))?;
                base.policy = policy;
            }
            "comment" => _ = reader.word()?,
            _ => {
                let mut rule = vec![word];
                rule.extend(reader.rest());
                chain.rules.push(rule);
            }
        }
        reader.end()?;
    }
    Ok(())
}

/// `nat hook prerouting priority dstnat`, `filter hook input priority filter - 1`.
fn base(reader: &mut Reader<'_>) -> Result<Base, ParseError> {
    let nat = reader.one_of("a type of chain", |text| match text {
        "nat" => Some(true),
        "filter" | "route" => Some(false),
        _ => None,
    })?;
    reader.expect("hook")?;
    let hook = reader.one_of("a hook", |text| match text {
        "prerouting" => Some(Hook::Prerouting),
        "input" => Some(Hook::Input),
        "forward" => Some(Hook::Forward),
        "output" => Some(Hook::Output),
        "postrouting" => Some(Hook::Postrouting),
        _ => None,
    })?;
    reader.expect("priority")?;
    let named = reader.one_of("a priority", |text| match text {
        "raw" => Some(-300),
        "mangle" => Some(-150),
        "dstnat" => Some(-100),
        "filter" => Some(0),
        "security" => Some(50),
        "srcnat" => Some(100),
        number => number.parse().ok(),
    })?;
    let sign = match reader.peek() {
        "+" => 1,
        "-" => -1,
        _ => return Ok(Base { hook, priority: named, nat, policy: Policy::Accept }),
    };
    reader.word()?;
    let more: i32 = reader.one_of("a number", |text| text.parse().ok())?;
    let priority = named.saturating_add(more.saturating_mul(sign));
    Ok(Base { hook, priority, nat, policy: Policy::Accept })
}

fn policy(reader: &mut Reader<'_>) -> Result<Policy, ParseError> {
    reader.one_of("a policy", |text| match text {
        "accept" => Some(Policy::Accept),
        "drop" => Some(Policy::Drop),
        _ => None,
    })
}

/// `NAME { type ipv4_addr; flags interval; elements = { … } }`, or of a map `type ifname : verdict`.
fn set<'a>(draft: &mut Draft<'a>, reader: &mut Reader<'a>) -> Result<(), ParseError> {
    let name = reader.name()?;
    let mut set = SetDraft::default();
    reader.expect("{")?;
    while let Some(word) = reader.block()? {
        let rest = if word.text == "elements" { Vec::new() } else { reader.rest() };
        let words: Vec<&str> = rest.iter().map(|w| w.text).collect();
        match word.text {
            "type" => {
                let (kind, to) = match words.iter().position(|text| *text == ":") {
                    Some(colon) => (
                        words.get(..colon).unwrap_or_default(),
                        words.get(colon + 1).map(|to| (*to).to_owned()),
                    ),
                    None => (words.as_slice(), None),
                };
                (set.kind, set.to) = (kind.join(" "), to);
            }
            "typeof" => {
                let to = words.iter().position(|text| *text == ":").and_then(|colon| words.get(colon + 1));
                set.to = to.map(|to| (*to).to_owned());
            }
            "flags" => set.dynamic = words.iter().any(|flag| ["dynamic", "timeout"].contains(flag)),
            "elements" => {
                reader.expect("=")?;
                set.elements = reader.elements()?;
            }
            "auto-merge" | "comment" | "counter" | "gc-interval" | "policy" | "size" | "timeout" => {}
            _ => return Err(word.expected("type, typeof, flags or elements")),
        }
    }
    draft.order.retain(|old| *old != name);
    draft.order.push(name);
    draft.sets.insert(name, set);
    Ok(())
}
