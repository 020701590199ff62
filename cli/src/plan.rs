//! `seatrial plan`: what the kernel is asked to make.

use seatrial_core::addr::Family;
use seatrial_core::diagnostic::{At, Diagnostic, Diagnostics};
use seatrial_core::plan::{NsName, Object, Plan};
use seatrial_core::rules::{Backend, Ruleset, iptables, nft};
use seatrial_core::topology::Host;

use crate::args::{self, PlanFormat};
use crate::assumed;
use crate::diagnostics;
use crate::format::json;
use crate::input::{self, Network, Subject};
use crate::output::{Output, Refusal};

/// Plans a project and prints all of it, or one namespace.
pub(crate) fn run(args: &args::Plan) -> Result<Output, Refusal> {
    let subject = input::subject(&args.input, &args.options)?;
    let plan = subject.plan()?;
    let assumed = &subject.assumed;
    let ns = args.ns.as_deref().map(|name| namespace(&plan, name)).transpose()?;
    let output = match args.format {
        PlanFormat::Shell => shell(&subject, only(plan, ns.as_ref())),
        PlanFormat::Json => {
            Output::answer(json::pretty(&only(plan, ns.as_ref()))?).noting(&assumed::note(assumed))
        }
        PlanFormat::IptablesSave => iptables_save(assumed, &plan, ns, Family::V4),
        PlanFormat::Ip6tablesSave => iptables_save(assumed, &plan, ns, Family::V6),
        PlanFormat::Nft => nft_list(assumed, &plan, ns)?,
    };
    Ok(output.noting(&diagnostics::warnings(&subject.warnings)))
}

/// The namespace of a name, where the plan has it.
fn namespace(plan: &Plan, name: &str) -> Result<NsName, Diagnostics> {
    let mut all: Vec<&str> = plan.items.iter().map(|item| item.ns.as_str()).collect();
    all.sort_unstable();
    all.dedup();
    match all.contains(&name) {
        true => Ok(NsName::from(name)),
        false => Err(Diagnostic::new(At::nowhere("--ns"), format!("there is no namespace '{name}'"))
            .expected(format!("one of {}", all.join(", ")))
            .into()),
    }
}

fn only(mut plan: Plan, ns: Option<&NsName>) -> Plan {
    plan.items.retain(|item| ns.is_none_or(|ns| item.ns == *ns));
    plan
}

fn shell(subject: &Subject, plan: Plan) -> Output {
    let engine = |host: &Host| {
        let engine = host.engine;
        format!("# {}: Docker Engine {engine}, {}\n", host.name, engine.evidence())
    };
    let engines: String = match &subject.network {
        Network::Planned(topology) => topology.hosts.iter().map(engine).collect(),
        Network::Found { .. } => {
            let (engine, evidence) = subject.engine();
            format!("# host: Docker Engine {engine}, {evidence}\n")
        }
    };
    let assumed: String = subject.assumed.iter().map(|what| format!("# assumed: {what}\n")).collect();
    Output::answer(format!("{engines}{assumed}{plan}"))
}

/// One family's rules of one namespace, and nothing else.
fn iptables_save(assumed: &[String], plan: &Plan, ns: Option<NsName>, family: Family) -> Output {
    let (ns, rules) = rules(plan, ns, Backend::Iptables);
    let text = rules.filter(|rules| rules.family == family).map(iptables::save).collect();
    answer(assumed, &ns, text)
}

/// One namespace's tables of nft, and nothing else.
fn nft_list(assumed: &[String], plan: &Plan, ns: Option<NsName>) -> Result<Output, Diagnostics> {
    let (ns, rules) = rules(plan, ns, Backend::Nft);
    let unwritable = |e: nft::Unwritable| Diagnostic::new(At::nowhere("--format nft"), e.to_string());
    let text: Result<String, Diagnostic> = rules.map(|rules| nft::list(rules).map_err(unwritable)).collect();
    let written = plan.items.iter().filter(|item| item.ns == ns).filter_map(|item| {
        if let Object::Script(script) = &item.object { Some(script.text.as_str()) } else { None }
    });
    let written: String = written.collect();
    Ok(answer(assumed, &ns, written + &text?))
}

/// The rules of one tool in one namespace, the host's where none is named.
fn rules(plan: &Plan, ns: Option<NsName>, backend: Backend) -> (NsName, impl Iterator<Item = &Ruleset>) {
    let ns = ns.unwrap_or_else(|| NsName::from("host"));
    let here = ns.clone();
    let rules = plan.items.iter().filter(move |item| item.ns == here).filter_map(move |item| {
        if let Object::Rules(rules) = &item.object {
            Some(&**rules).filter(|r| r.backend == backend)
        } else {
            None
        }
    });
    (ns, rules)
}

fn answer(assumed: &[String], ns: &NsName, text: String) -> Output {
    let mut notes = assumed::note(assumed);
    if text.is_empty() {
        notes += &format!("seatrial: the plan has no such rules in namespace {ns}\n");
    }
    Output::answer(text).noting(&notes)
}
