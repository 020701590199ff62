//! `seatrial plan`: what the kernel is asked to make.

use seatrial_core::addr::Family;
use seatrial_core::diagnostic::{At, Diagnostic, Diagnostics};
use seatrial_core::plan::{self, NsName, Object, Plan};
use seatrial_core::rules::{Backend, Ruleset, iptables};
use seatrial_core::topology::Topology;

use crate::args::{self, PlanFormat};
use crate::assumed;
use crate::diagnostics;
use crate::format::json;
use crate::input::{self, Subject};
use crate::output::{Output, Refusal};

/// Plans a project and prints all of it, or one namespace.
pub(crate) fn run(args: &args::Plan) -> Result<Output, Refusal> {
    let Subject { topology, warnings } = input::subject(&args.input, &args.options)?;
    let plan = plan::plan(&topology)?;
    let ns = args.ns.as_deref().map(|name| namespace(&plan, name)).transpose()?;
    let output = match args.format {
        PlanFormat::Shell => shell(&topology, only(plan, ns.as_ref())),
        PlanFormat::Json => {
            Output::answer(json::pretty(&only(plan, ns.as_ref()))?).noting(&assumed::note(&topology))
        }
        PlanFormat::IptablesSave => rules(&topology, &plan, ns, Family::V4),
        PlanFormat::Ip6tablesSave => rules(&topology, &plan, ns, Family::V6),
    };
    Ok(output.noting(&diagnostics::warnings(&warnings)))
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

fn shell(topology: &Topology, plan: Plan) -> Output {
    let assumed: String = topology.assumed.iter().map(|what| format!("# assumed: {what}\n")).collect();
    Output::answer(format!("{assumed}{plan}"))
}

/// One family's rules of one namespace, and nothing else.
fn rules(topology: &Topology, plan: &Plan, ns: Option<NsName>, family: Family) -> Output {
    let ns = ns.unwrap_or_else(|| NsName::from("host"));
    let of_family = |rules: &&Ruleset| rules.family == family && rules.backend == Backend::Iptables;
    let rules: Vec<String> = plan
        .items
        .iter()
        .filter(|item| item.ns == ns)
        .filter_map(|item| if let Object::Rules(rules) = &item.object { Some(rules) } else { None })
        .filter(of_family)
        .map(iptables::save)
        .collect();
    let mut notes = assumed::note(topology);
    if rules.is_empty() {
        notes += &format!("seatrial: the plan has no such rules in namespace {ns}\n");
    }
    Output::answer(rules.concat()).noting(&notes)
}
