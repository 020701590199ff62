//! A rule's statements, one after the other.

use std::collections::BTreeSet;
use std::iter;

use super::draft::Draft;
use super::key::{self, Asked, Key};
use super::value::{self, Sign};
use super::verdict::{self, Verdict};
use crate::addr::{Family, IfName};
use crate::rules::iptables::ParseError;
use crate::rules::nft::AS_WRITTEN;
use crate::rules::nft::words::{Reader, Word, unquoted};
use crate::rules::{Is, MapKey, Match, Protocol, RejectWith, Rule, Target};

/// Of how many rules one may become.
const FORMS: usize = 4096;

/// Words that end what nobody knows: whatever is done then is known.
const ENDS: [&str; 14] = [
    "accept",
    "drop",
    "return",
    "jump",
    "goto",
    "continue",
    "reject",
    "masquerade",
    "dnat",
    "snat",
    "redirect",
    "counter",
    "log",
    "comment",
];

/// One of the rules that a rule becomes.
#[derive(Debug, Clone, Default)]
struct Form {
    matches: Vec<Match>,
    target: Option<Target>,
}

/// A rule under way.
struct Under<'t, 'a> {
    table: &'t Draft<'a>,
    family: Family,
    /// Those that are whole: what they do lets the packet go on.
    done: Vec<Form>,
    forms: Vec<Form>,
}

/// An element of a map: the words of its key, and what they lead to.
pub(super) type Mapped<'a> = (Vec<Word<'a>>, Target);

/// Reads a rule as packets of a family meet it: none where it is not for them.
pub(super) fn read<'a>(
    words: &[Word<'a>],
    table: &Draft<'a>,
    family: Family,
    devices: &mut BTreeSet<IfName>,
) -> Result<Vec<Rule>, ParseError> {
    let mut under = Under { table, family, done: Vec::new(), forms: vec![Form::default()] };
    let mut reader = Reader::over(words);
    loop {
        let start = reader.clone();
        let Some(word) = reader.next() else { break };
        if ["iif", "oif"].contains(&word.text) {
            devices.extend(reader.clone().next().and_then(|name| value::name(name.text).parse().ok()));
        }
        if !under.statement(word, &mut reader)? {
            reader = start;
            if under.forms.is_empty() {
                return Ok(Vec::new());
            }
            under.keep(as_written(&mut reader));
        }
        if under.forms.is_empty() {
            return Ok(Vec::new());
        }
    }
    let all = under.done.into_iter().chain(under.forms);
    Ok(all.map(|form| Rule { matches: form.matches, target: form.target, counters: None }).collect())
}

/// What is not known, as it was written: up to a word that is.
fn as_written(reader: &mut Reader<'_>) -> Match {
    let mut options = Vec::new();
    while let Some(word) = reader.clone().next() {
        if !options.is_empty() && ENDS.contains(&word.text) {
            break;
        }
        options.push(word.text);
        reader.next();
    }
    other(options)
}

fn other<'a>(words: impl IntoIterator<Item = &'a str>) -> Match {
    Match::Other { module: AS_WRITTEN.to_owned(), options: words.into_iter().map(str::to_owned).collect() }
}

/// The elements of a map, each with its verdict.
pub(super) fn mapped<'a>(elements: &[Vec<Word<'a>>], family: Family) -> Result<Vec<Mapped<'a>>, ParseError> {
    let one = |element: &Vec<Word<'a>>| {
        let mut reader = Reader::over(element);
        let mut key = Vec::new();
        while let Some(word) = reader.next() {
            if word.text == ":" {
                let word = reader.word()?;
                let read = verdict::read(word, &mut reader, family)?;
                let Some(Verdict::Does(target)) = read else { return Err(word.expected("a verdict")) };
                return Ok((key, target));
            }
            key.push(word);
        }
        let last = key.last().copied();
        Err(last
            .map_or_else(|| Word::default().expected("a key"), |word| word.expected("': VERDICT' behind it")))
    };
    elements.iter().map(one).collect()
}

impl<'a> Under<'_, 'a> {
    /// Takes one statement; false where it is not known, and nothing has been taken.
    fn statement(&mut self, word: Word<'a>, reader: &mut Reader<'a>) -> Result<bool, ParseError> {
        if !["counter", "log", "continue", "comment"].contains(&word.text) {
            self.settle(word)?;
        }
        match word.text {
            "counter" => skip_counter(reader),
            "log" => skip_log(reader),
            "continue" => {}
            "comment" => {
                let text = reader.one_of("a comment", |text| Some(unquoted(text).unwrap_or(text)))?;
                self.keep(Match::Comment(text.to_owned()));
            }
            "reject" => match verdict::read(word, reader, self.family)? {
                Some(Verdict::Does(target)) => {
                    if target == Target::Reject(RejectWith::TcpReset) {
                        self.ask_for_tcp();
                    }
                    self.does(target);
                }
                Some(Verdict::Elsewhere) | None => self.forms.clear(),
            },
            _ => match verdict::read(word, reader, self.family)? {
                Some(Verdict::Does(target)) => self.does(target),
                Some(Verdict::Elsewhere) => self.forms.clear(),
                None => return self.ask(word, reader),
            },
        }
        Ok(true)
    }

    /// Before more is asked: what a rule has done it has done, whatever comes of the rest.
    fn settle(&mut self, word: Word<'a>) -> Result<(), ParseError> {
        let marks = |form: &Form| {
            matches!(form.target, Some(Target::Mark(_)))
                && form.matches.iter().any(|of| matches!(of, Match::Mark(_)))
        };
        if self.forms.iter().any(marks) {
            return Err(word
                .expected("the end of a rule that asks for the mark and sets it: the rest is another rule"));
        }
        let does = |form: &Form| form.target.is_some();
        self.done.extend(self.forms.iter().filter(|form| does(form)).cloned());
        self.forms.iter_mut().for_each(|form| form.target = None);
        Ok(())
    }

    fn keep(&mut self, of: Match) {
        self.forms.iter_mut().for_each(|form| form.matches.push(of.clone()));
    }

    /// nft asks for TCP before it resets a connection, where nothing has asked yet.
    fn ask_for_tcp(&mut self) {
        let tcp = Match::Protocol(Is::a(Protocol::TCP));
        let forms = self.forms.iter_mut().filter(|form| !form.matches.contains(&tcp));
        forms.for_each(|form| form.matches.push(tcp.clone()));
    }

    /// What the rule does, once it is settled what it has done before.
    fn does(&mut self, target: Target) {
        self.forms.iter_mut().for_each(|form| form.target = Some(target.clone()));
    }

    fn ask(&mut self, word: Word<'a>, reader: &mut Reader<'a>) -> Result<bool, ParseError> {
        let behind = reader.clone();
        let asked = match key::read(word, reader, self.family)? {
            Asked::Elsewhere => {
                self.forms.clear();
                return Ok(true);
            }
            Asked::Unknown => return Ok(false),
            Asked::Key(asked) => asked,
        };
        if reader.take("vmap") {
            return self.ask_map(asked, reader);
        }
        let Some(sign) = value::sign(asked, reader)? else { return Ok(false) };
        let in_set = reader.peek().starts_with(['{', '@']);
        let Some(values) = self.values(asked, reader)? else { return Ok(false) };
        if value::is_whole(asked, sign, values.len(), in_set) {
            let words = iter::once(&word).chain(behind.until(reader));
            self.keep(other(words.map(|word| word.text)));
            return Ok(true);
        }
        let Some(alternatives) = value::matches(asked, sign, &values, self.family)? else { return Ok(false) };
        let forms = alternatives.into_iter().map(|matches| Form { matches, target: None }).collect();
        self.branch(word, forms)?;
        Ok(true)
    }

    /// `vmap { … }`, `vmap @name`.
    fn ask_map(&mut self, asked: Key, reader: &mut Reader<'a>) -> Result<bool, ParseError> {
        let word = reader.clone().word()?;
        let elements = match word.text.strip_prefix('@') {
            None => reader.elements()?,
            Some(name) => {
                reader.next();
                let set = self.table.sets.get(name).ok_or_else(|| word.expected("a map of this table"))?;
                if set.asks_devices() && [Key::Input, Key::Output].contains(&asked) {
                    let comes = asked == Key::Input;
                    let key = if comes { MapKey::InInterface } else { MapKey::OutInterface };
                    self.does(Target::Vmap { key, map: name.to_owned() });
                    return Ok(true);
                }
                if set.dynamic {
                    return Ok(false);
                }
                set.elements.clone()
            }
        };
        let mut forms = Vec::new();
        for (key, target) in mapped(&elements, self.family)? {
            let [key] = key.as_slice() else { return Ok(false) };
            if key.text == "*" || value::is_whole(asked, Sign::Exactly, 1, true) {
                return Ok(false);
            }
            let of = value::matches(asked, Sign::Is, &[*key], self.family)?;
            let Some(alternatives) = of else { return Ok(false) };
            forms.extend(
                alternatives.into_iter().map(|matches| Form { matches, target: Some(target.clone()) }),
            );
        }
        // A map has no order.
        forms.sort_by_cached_key(|form| format!("{:?}", form.matches));
        self.branch(word, forms)?;
        Ok(true)
    }

    /// One value, several, or what a set has; none where that is not known.
    fn values(&self, asked: Key, reader: &mut Reader<'a>) -> Result<Option<Vec<Word<'a>>>, ParseError> {
        let word = reader.clone().word()?;
        let elements = match word.text.strip_prefix('@') {
            Some(name) => {
                reader.next();
                let set = self.table.sets.get(name).ok_or_else(|| word.expected("a set of this table"))?;
                if set.dynamic {
                    return Ok(None);
                }
                set.elements.clone()
            }
            None if word.text == "{" => reader.elements()?,
            None => return one(asked, reader).map(Some),
        };
        let single = |element: Vec<Word<'a>>| match element.as_slice() {
            [word] => Some(*word),
            _ => None,
        };
        let values: Option<Vec<Word<'a>>> = elements.into_iter().map(single).collect();
        // A set has no order: nft lists another than was written.
        Ok(values.map(|mut values| {
            values.sort_by_key(|value| value.text);
            values
        }))
    }

    /// Each form with each of these; the rule's own first.
    fn branch(&mut self, word: Word<'a>, branches: Vec<Form>) -> Result<(), ParseError> {
        if self.forms.len().saturating_mul(branches.len()) > FORMS {
            return Err(word.expected(format!("a rule that stands for {FORMS} or less")));
        }
        let mut forms = Vec::new();
        for branch in &branches {
            for form in &self.forms {
                let matches = form.matches.iter().chain(&branch.matches).cloned().collect();
                forms.push(Form { matches, target: branch.target.clone().or_else(|| form.target.clone()) });
            }
        }
        self.forms = forms;
        Ok(())
    }
}

/// One value; of states and the like several, apart by commas.
fn one<'a>(asked: Key, reader: &mut Reader<'a>) -> Result<Vec<Word<'a>>, ParseError> {
    let mut words = vec![reader.word()?];
    if reader.peek() == "-" {
        return Err(reader.word()?.expected("a range without blanks, as in 10.0.0.1-10.0.0.9"));
    }
    while asked.has_lists() && (reader.take(",") || (asked == Key::TcpFlags && reader.take("|"))) {
        words.push(reader.word()?);
    }
    // `syn / fin,syn,rst,ack`: of these, those before.
    if asked == Key::TcpFlags && reader.peek() == "/" {
        words.push(reader.word()?);
        words.extend(one(asked, reader)?);
    }
    Ok(words)
}

/// `counter packets 0 bytes 0`, `counter name "x"`.
fn skip_counter(reader: &mut Reader<'_>) {
    while ["packets", "bytes", "name"].contains(&reader.peek()) {
        reader.next();
        reader.next();
    }
}

/// What is logged bears on no packet.
fn skip_log(reader: &mut Reader<'_>) {
    while ["prefix", "level", "group", "snaplen", "queue-threshold", "flags"].contains(&reader.peek()) {
        let flags = reader.next().is_some_and(|word| word.text == "flags");
        let of = reader.next();
        if flags && of.is_some_and(|word| ["tcp", "ip"].contains(&word.text)) {
            reader.next();
            while reader.take(",") {
                reader.next();
            }
        }
    }
}
