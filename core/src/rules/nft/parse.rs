//! What `nft --stateless list table` prints, read back: the words that Docker's own tables are written in.

use std::collections::{BTreeMap, BTreeSet};

use super::words::{Reader, Word};
use crate::addr::{Family, IfName};
use crate::rules::iptables::ParseError;
use crate::rules::{Base, Chain, Counters, Hook, Policy, Rule, Table, Target, VerdictMap};

mod matches;

/// Reads the tables of a family.
///
/// # Errors
/// The first word that no plan has: of another family, of a rule that is not modelled.
pub fn parse(text: &str, family: Family) -> Result<Vec<Table>, ParseError> {
    let mut reader = Reader::of(text);
    let mut tables = Vec::new();
    while reader.at_something() {
        tables.push(table(&mut reader, family)?);
    }
    Ok(tables)
}

fn table(reader: &mut Reader<'_>, family: Family) -> Result<Table, ParseError> {
    reader.expect("table")?;
    reader.expect(super::family(family))?;
    let mut table = Table { name: reader.name()?, maps: Vec::new(), chains: Vec::new() };
    reader.expect("{")?;
    while let Some(word) = reader.block()? {
        match word.text {
            "map" => table.maps.push(map(reader)?),
            "chain" => table.chains.push(chain(reader, family)?),
            _ => return Err(word.expected("a map or a chain")),
        }
    }
    Ok(table)
}

fn map(reader: &mut Reader<'_>) -> Result<VerdictMap, ParseError> {
    let mut map = VerdictMap { name: reader.name()?, elements: BTreeMap::new() };
    reader.expect("{")?;
    while let Some(word) = reader.block()? {
        match word.text {
            "type" => ["ifname", ":", "verdict"].into_iter().try_for_each(|text| reader.expect(text))?,
            "elements" => {
                reader.expect("=")?;
                map.elements = elements(reader)?;
            }
            _ => return Err(word.expected("type ifname : verdict, or elements")),
        }
    }
    Ok(map)
}

/// `{ "br0" : jump in__br0, "br1" : jump in__br1 }`.
fn elements(reader: &mut Reader<'_>) -> Result<BTreeMap<IfName, Target>, ParseError> {
    let mut elements = BTreeMap::new();
    reader.expect("{")?;
    loop {
        let device = reader.device()?;
        reader.expect(":")?;
        let word = reader.word()?;
        let verdict = super::statement::read(word, reader)?.ok_or_else(|| word.expected("a verdict"))?;
        elements.insert(device, verdict);
        if !reader.is_next_of_several()? {
            return Ok(elements);
        }
    }
}

/// `{ "eth3", "br0" }`, or the one device.
fn devices(reader: &mut Reader<'_>) -> Result<BTreeSet<IfName>, ParseError> {
    let mut devices = BTreeSet::new();
    reader.expect("{")?;
    loop {
        devices.insert(reader.device()?);
        if !reader.is_next_of_several()? {
            return Ok(devices);
        }
    }
}

fn chain(reader: &mut Reader<'_>, family: Family) -> Result<Chain, ParseError> {
    let name = reader.name()?;
    let mut chain = Chain { name, base: None, counters: Counters::default(), rules: Vec::new() };
    reader.expect("{")?;
    while let Some(word) = reader.block()? {
        match word.text {
            "type" => chain.base = Some(base(reader)?),
            _ => chain.rules.push(rule(word, reader, family)?),
        }
    }
    Ok(chain)
}

/// `nat hook prerouting priority dstnat; policy accept;`
fn base(reader: &mut Reader<'_>) -> Result<Base, ParseError> {
    let nat = reader.one_of("a type of chain", |text| match text {
        "nat" => Some(true),
        "filter" => Some(false),
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
    let priority = reader.one_of("a priority", |text| match text {
        "raw" => Some(-300),
        "mangle" => Some(-150),
        "dstnat" => Some(-100),
        "filter" => Some(0),
        "security" => Some(50),
        "srcnat" => Some(100),
        number => number.parse().ok(),
    })?;
    reader.expect(";")?;
    reader.expect("policy")?;
    let policy = reader.one_of("a policy", |text| match text {
        "accept" => Some(Policy::Accept),
        "drop" => Some(Policy::Drop),
        _ => None,
    })?;
    reader.expect(";")?;
    Ok(Base { hook, priority, nat, policy })
}

/// A rule, to the end of its line.
fn rule<'a>(first: Word<'a>, reader: &mut Reader<'a>, family: Family) -> Result<Rule, ParseError> {
    let mut rule = Rule { matches: Vec::new(), target: None, counters: None };
    let mut next = Some(first);
    while let Some(word) = next {
        if let Some(target) = super::statement::read(word, reader)? {
            rule.target = Some(target);
        } else if word.text != "counter" {
            matches::read(word, reader, family, &mut rule)?;
        }
        next = reader.in_line();
    }
    Ok(rule)
}
