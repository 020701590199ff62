//! One rule's words, put in order: addresses, devices and protocol first, then every extension with its options.

use std::iter::Peekable;
use std::slice;

use super::ParseError;
use super::extension::{Extension, Opt};
use super::grammar::{self, Known};
use super::lex::Word;
use super::{matches, names, targets, value};
use crate::addr::{Family, IpNet};
use crate::rules::{Counters, Is, Match, Protocol, Rule, Target};

/// What a rule may refer to.
pub(super) struct Scope<'a> {
    /// iptables or ip6tables.
    pub family: Family,
    /// The chain the rule stands in.
    pub chain: &'a str,
    /// Whether the table has a chain of that name.
    pub declared: &'a dyn Fn(&str) -> bool,
}

/// Where a rule sends a packet on.
enum Goal<'a> {
    Extension(Extension<'a>),
    Chain(Target),
}

/// The rules that a rule's words stand for: one for each pair of the addresses of `-s` and of `-d`.
pub(super) fn rules(scope: &Scope<'_>, words: &[Word<'_>]) -> Result<Vec<Rule>, ParseError> {
    let mut reader = Reader::new(scope, words);
    while let Some(word) = reader.words.next() {
        reader.word(word)?;
    }
    reader.finish()
}

/// What has been read of a rule so far.
struct Reader<'s, 'w> {
    scope: &'s Scope<'s>,
    words: Peekable<slice::Iter<'w, Word<'w>>>,
    not: Option<&'w Word<'w>>,
    source: Option<Is<Vec<IpNet>>>,
    destination: Option<Is<Vec<IpNet>>>,
    input: Option<Match>,
    output: Option<Match>,
    protocol: Option<(Is<Protocol>, &'w Word<'w>)>,
    fragment: Option<Match>,
    matches: Vec<Extension<'w>>,
    goal: Option<Goal<'w>>,
    /// Whether the target came last: words that belong to nobody else are its.
    target_last: bool,
    counters: Option<Counters>,
}

impl<'s, 'w> Reader<'s, 'w> {
    fn new(scope: &'s Scope<'s>, words: &'w [Word<'w>]) -> Self {
        Self {
            scope,
            words: words.iter().peekable(),
            not: None,
            source: None,
            destination: None,
            input: None,
            output: None,
            protocol: None,
            fragment: None,
            matches: Vec::new(),
            goal: None,
            target_last: false,
            counters: None,
        }
    }

    fn word(&mut self, word: &'w Word<'w>) -> Result<(), ParseError> {
        match word.raw {
            "!" if self.not.is_some() => Err(word.expected("an option after '!'")),
            "!" => {
                self.not = Some(word);
                Ok(())
            }
            "-s" | "--source" | "--src" => self.source(word),
            "-d" | "--destination" | "--dst" => self.destination(word),
            "-i" | "--in-interface" => self.input(word),
            "-o" | "--out-interface" => self.output(word),
            "-p" | "--protocol" | "--proto" => self.protocol(word),
            "-f" | "--fragment" => self.fragment(word),
            "-m" | "--match" => self.load_match(word),
            "-j" | "--jump" => self.jump(word),
            "-g" | "--goto" => self.goto(word),
            "-c" | "--set-counters" => self.counters(word),
            _ => self.option(word),
        }
    }

    fn value(&mut self, option: &Word<'_>, expected: &str) -> Result<&'w Word<'w>, ParseError> {
        let value = self.words.next();
        value.filter(|w| w.raw != "!").ok_or_else(|| option.expected(format!("{expected} behind the option")))
    }

    /// A value under the `!` before the option, which may be given once.
    fn once<T>(&mut self, option: &Word<'_>, before: &Option<T>) -> Result<bool, ParseError> {
        match before {
            Some(_) => Err(option.expected("the option only once")),
            None => Ok(self.not.take().is_some()),
        }
    }

    /// Nothing is negated.
    fn positive(&mut self, option: &Word<'_>) -> Result<(), ParseError> {
        match self.not.take() {
            Some(_) => Err(option.expected("an option that can be negated after '!'")),
            None => Ok(()),
        }
    }

    fn nets(&mut self, option: &Word<'_>, not: bool) -> Result<Is<Vec<IpNet>>, ParseError> {
        let word = self.value(option, "an address")?;
        let nets: Vec<_> =
            word.text.split(',').map(|t| value::net(self.scope.family, word, t)).collect::<Result<_, _>>()?;
        if not && nets.len() > 1 {
            return Err(word.expected("a single address behind '!'"));
        }
        if not && nets.iter().any(|n| n.prefix_len() == 0) {
            return Err(word.expected("an address behind '!' that is not every address"));
        }
        Ok(Is { not, value: nets })
    }

    fn source(&mut self, option: &Word<'_>) -> Result<(), ParseError> {
        let before = self.source.take();
        let not = self.once(option, &before)?;
        self.source = Some(self.nets(option, not)?);
        Ok(())
    }

    fn destination(&mut self, option: &Word<'_>) -> Result<(), ParseError> {
        let before = self.destination.take();
        let not = self.once(option, &before)?;
        self.destination = Some(self.nets(option, not)?);
        Ok(())
    }

    fn input(&mut self, option: &Word<'_>) -> Result<(), ParseError> {
        if matches!(self.scope.chain, "OUTPUT" | "POSTROUTING") {
            return Err(
                option.expected(format!("no -i in {}: packets there come from no device", self.scope.chain))
            );
        }
        let before = self.input.take();
        let not = self.once(option, &before)?;
        let value = value::interface(self.value(option, "an interface")?)?;
        self.input = Some(Match::InInterface(Is { not, value }));
        Ok(())
    }

    fn output(&mut self, option: &Word<'_>) -> Result<(), ParseError> {
        if matches!(self.scope.chain, "INPUT" | "PREROUTING") {
            return Err(
                option.expected(format!("no -o in {}: packets there go to no device yet", self.scope.chain))
            );
        }
        let before = self.output.take();
        let not = self.once(option, &before)?;
        let value = value::interface(self.value(option, "an interface")?)?;
        self.output = Some(Match::OutInterface(Is { not, value }));
        Ok(())
    }

    fn protocol(&mut self, option: &Word<'_>) -> Result<(), ParseError> {
        let before = self.protocol.take();
        let not = self.once(option, &before)?;
        let word = self.value(option, "a protocol")?;
        let value = value::protocol(word)?;
        if not && value == Protocol(0) {
            return Err(word.expected("a protocol behind '!' that is not every protocol"));
        }
        self.protocol = Some((Is { not, value }, word));
        Ok(())
    }

    fn fragment(&mut self, option: &Word<'_>) -> Result<(), ParseError> {
        if self.scope.family == Family::V6 {
            return Err(option.expected("no -f in ip6tables, which has '-m frag'"));
        }
        let before = self.fragment.take();
        let not = self.once(option, &before)?;
        self.fragment = Some(Match::Fragment(Is { not, value: () }));
        Ok(())
    }

    fn load_match(&mut self, option: &Word<'_>) -> Result<(), ParseError> {
        self.positive(option)?;
        let name = self.value(option, "a module")?;
        self.matches.push(Extension::new(name.clone(), grammar::of_match(&name.text)));
        self.target_last = false;
        Ok(())
    }

    fn jump(&mut self, option: &Word<'_>) -> Result<(), ParseError> {
        self.positive(option)?;
        let name = self.value(option, "a target")?;
        let goal = if grammar::is_target(&name.text) {
            Goal::Extension(Extension::new(name.clone(), grammar::of_target(&name.text)))
        } else {
            Goal::Chain(Target::Jump(self.chain(name)?))
        };
        self.target_last = true;
        self.aim(option, goal)
    }

    fn goto(&mut self, option: &Word<'_>) -> Result<(), ParseError> {
        self.positive(option)?;
        let name = self.value(option, "a chain")?;
        let goal = Goal::Chain(Target::Goto(self.chain(name)?));
        self.aim(option, goal)
    }

    fn aim(&mut self, option: &Word<'_>, goal: Goal<'w>) -> Result<(), ParseError> {
        match self.goal.replace(goal) {
            Some(_) => Err(option.expected("one -j or -g only")),
            None => Ok(()),
        }
    }

    fn chain(&self, name: &Word<'_>) -> Result<String, ParseError> {
        let base = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"].contains(&name.text.as_str());
        if base || !(self.scope.declared)(&name.text) {
            return Err(name.expected(format!(
                "a target, or a chain that the table declares above (as in ':{} - [0:0]')",
                if base { "CHAIN" } else { &name.text }
            )));
        }
        Ok(name.text.clone())
    }

    fn counters(&mut self, option: &Word<'_>) -> Result<(), ParseError> {
        self.positive(option)?;
        let expected = "two numbers: packets and bytes";
        let packets = self.value(option, expected)?;
        let bytes = self.value(option, expected)?;
        let number = |w: &Word<'_>| w.text.parse().map_err(|_| w.expected("a number"));
        self.counters = Some(Counters { packets: number(packets)?, bytes: number(bytes)? });
        Ok(())
    }

    /// A word that is none of iptables' own options: a module's option, or a word of one that is kept as written.
    fn option(&mut self, word: &'w Word<'w>) -> Result<(), ParseError> {
        let (name, inline) = match word.text.split_once('=') {
            Some((name, value)) if word.raw.starts_with("--") => (name, Some(value)),
            _ => (word.text.as_str(), None),
        };
        self.load_implied(name);
        match self.owner(word, name) {
            Some((owner, known)) => self.known_option(owner, known, word, inline),
            None => self.verbatim(word),
        }
    }

    /// Loads the module that `-p` stands for, if it takes this option and no loaded one does.
    fn load_implied(&mut self, name: &str) {
        let Some((Is { not: false, value }, word)) = &self.protocol else { return };
        let Some(module) = names::implied_module(*value) else { return };
        let known = grammar::of_match(module);
        let takes = |known: Option<&'static [Known]>| known.is_some_and(|k| grammar::find(k, name).is_some());
        let taken = self.matches.iter().any(|m| m.name.text == module || takes(m.known));
        if takes(known) && !taken {
            let name = Word { text: module.to_owned(), ..(*word).clone() };
            self.matches.push(Extension::new(name, known));
            self.target_last = false;
        }
    }

    /// Who takes an option: none is the target, and a number one of the matches.
    fn owner(&self, word: &Word<'_>, name: &str) -> Option<(Option<usize>, &'static Known)> {
        let target = match &self.goal {
            Some(Goal::Extension(target)) => target.known,
            Some(Goal::Chain(_)) | None => None,
        };
        let exact =
            |known: &'static [Known]| known.iter().find(|k| word.is_option() && k.names.contains(&name));
        let found = |search: &dyn Fn(&'static [Known]) -> Option<&'static Known>| {
            let in_target = target.and_then(search).map(|k| (None, k));
            let matches = self.matches.iter().enumerate().rev();
            let mut in_matches =
                matches.filter_map(|(at, m)| m.known.and_then(search).map(|k| (Some(at), k)));
            in_target.or_else(|| in_matches.next())
        };
        let short = |known: &'static [Known]| grammar::find(known, name).filter(|_| word.is_option());
        found(&exact).or_else(|| if self.takes_verbatim() { None } else { found(&short) })
    }

    fn known_option(
        &mut self,
        owner: Option<usize>,
        known: &'static Known,
        word: &'w Word<'w>,
        inline: Option<&str>,
    ) -> Result<(), ParseError> {
        let not = self.not.take().is_some();
        let mut values: Vec<Word<'w>> =
            inline.iter().map(|text| Word { text: (*text).to_owned(), ..word.clone() }).collect();
        while values.len() < known.words {
            let value = self.words.next().ok_or_else(|| word.expected("a value behind the option"))?;
            values.push(value.clone());
        }
        if values.len() > known.words {
            return Err(word.expected("no value behind the option"));
        }
        let Some(extension) = self.extension(owner) else { return self.verbatim(word) };
        if extension.options.iter().any(|o| o.known.names == known.names) {
            return Err(word.expected("the option only once"));
        }
        extension.words.extend(not.then(|| "!".to_owned()));
        extension.words.push(word.raw.to_owned());
        if inline.is_none() {
            extension.words.extend(values.iter().map(|v| v.raw.to_owned()));
        }
        extension.options.push(Opt { not, word: word.clone(), known, values });
        Ok(())
    }

    fn extension(&mut self, owner: Option<usize>) -> Option<&mut Extension<'w>> {
        match (owner, &mut self.goal) {
            (Some(at), _) => self.matches.get_mut(at),
            (None, Some(Goal::Extension(target))) => Some(target),
            (None, Some(Goal::Chain(_)) | None) => None,
        }
    }

    /// Whether the module that came last is kept as written.
    fn takes_verbatim(&self) -> bool {
        let last = if self.target_last {
            match &self.goal {
                Some(Goal::Extension(target)) => Some(target),
                Some(Goal::Chain(_)) | None => None,
            }
        } else {
            self.matches.last()
        };
        last.is_some_and(|e| e.known.is_none())
    }

    fn verbatim(&mut self, word: &'w Word<'w>) -> Result<(), ParseError> {
        let not = self.not.is_some();
        let begins = word.is_option() && word.raw.starts_with("--");
        let last = if self.target_last { None } else { self.matches.len().checked_sub(1) };
        let takes = self.takes_verbatim();
        let extension = self.extension(last).filter(|e| takes && (begins || (!not && !e.words.is_empty())));
        match extension {
            Some(extension) => {
                extension.words.extend(not.then(|| "!".to_owned()));
                extension.words.push(word.raw.to_owned());
                self.not = None;
                Ok(())
            }
            None => Err(word.expected(self.options_here())),
        }
    }

    /// What could stand where a word was not understood.
    fn options_here(&self) -> String {
        let target = match &self.goal {
            Some(Goal::Extension(target)) => Some(target),
            Some(Goal::Chain(_)) | None => None,
        };
        let loaded: Vec<_> = self
            .matches
            .iter()
            .chain(target)
            .filter_map(|e| e.known.map(|k| format!("{} of {}", grammar::list(k), e.name.text)))
            .collect();
        let own = "an option: -s, -d, -i, -o, -p, -m, -j, -g";
        if loaded.is_empty() { own.to_owned() } else { format!("{own}, {}", loaded.join(", ")) }
    }

    fn finish(self) -> Result<Vec<Rule>, ParseError> {
        if let Some(not) = self.not {
            return Err(not.expected("an option after '!'"));
        }
        let family = self.scope.family;
        let protocol = self.protocol.as_ref().map(|(protocol, _)| *protocol);
        let mut matches: Vec<_> =
            [self.input, self.output].into_iter().flatten().filter(|m| !matches_any(m)).collect();
        matches.extend(protocol.filter(|p| p.value != Protocol(0)).map(Match::Protocol));
        matches.extend(self.fragment);
        for extension in &self.matches {
            matches.push(matches::build(extension, family, protocol)?);
        }
        let target = match self.goal {
            Some(Goal::Chain(target)) => Some(target),
            Some(Goal::Extension(extension)) => Some(targets::build(&extension, family)?),
            None => None,
        };
        let sources = addresses(self.source, Match::Source);
        let destinations = addresses(self.destination, Match::Destination);
        let pairs = sources.iter().flat_map(|s| destinations.iter().map(move |d| (s, d)));
        let rule = |(source, destination): (&Option<Match>, &Option<Match>)| Rule {
            matches: source.iter().chain(destination).chain(&matches).cloned().collect(),
            target: target.clone(),
            counters: self.counters,
        };
        Ok(pairs.map(rule).collect())
    }
}

/// Whether a device match is `+`, which iptables does not write.
fn matches_any(m: &Match) -> bool {
    matches!(m, Match::InInterface(i) | Match::OutInterface(i) if !i.not && i.value.0 == "+")
}

/// One match for each address; none for all of them.
fn addresses(nets: Option<Is<Vec<IpNet>>>, make: fn(Is<IpNet>) -> Match) -> Vec<Option<Match>> {
    match nets {
        None => vec![None],
        Some(Is { not, value }) => value
            .into_iter()
            .map(|net| (net.prefix_len() > 0).then(|| make(Is { not, value: net })))
            .collect(),
    }
}
