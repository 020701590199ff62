//! `seatrial trace`: one probe's packets, hop by hop.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;

use seatrial_core::diagnostic::{At, Diagnostic, Diagnostics, Source};
use seatrial_core::plan::{Object, Plan};
use seatrial_core::probe::{Outcome, Probe};
use seatrial_core::topology::NodeName;
use seatrial_sim::trace::Trace;
use seatrial_sim::world::{Answer, World};
use serde::Serialize;

use crate::args::{self, Format};
use crate::assumed;
use crate::diagnostics;
use crate::format::json;
use crate::input;
use crate::output::{Output, Refusal};
use crate::style::{self, BAD, GOOD, HEAD, paint, width};

/// One probe's journey as a JSON document.
#[derive(Serialize)]
struct Document<'a> {
    /// The version of the program.
    seatrial: &'static str,
    /// The question, as a trial writes it.
    probe: String,
    /// What came of it, as a trial writes it: `reaches web:80 from 203.0.113.50`.
    outcome: String,
    /// What was assumed because nothing said it, a sentence each.
    assumed: &'a [String],
    /// Every hop of every packet in the order of time, and what the devices are.
    trace: &'a Trace,
}

/// Sends the probe and prints its journey.
pub(crate) fn run(args: &args::Trace) -> Result<Output, Refusal> {
    let (subject, plan, mut world) = input::world(&args.input, &args.options, &args.chance)?;
    let probe = parse(&args.probe)?;
    known(&plan, &probe.from, &args.probe)?;
    let Answer { outcome, trace } = match &args.pcap {
        Some(path) => record(&mut world, &probe, path)?,
        None => world.probe(&probe),
    };
    let out = match args.format {
        Format::Text => text(&probe, &outcome, &trace) + &assumed::text(&subject.assumed, style::columns()),
        Format::Json => json::pretty(&Document {
            seatrial: json::VERSION,
            probe: probe.to_string(),
            outcome: outcome.to_string(),
            assumed: &subject.assumed,
            trace: &trace,
        })?,
    };
    Ok(Output::answer(out).noting(&diagnostics::warnings(&subject.warnings)))
}

/// The answer; what a sniffer sees of it goes to a file, over what stood there, as other sniffers do it.
fn record(world: &mut World, probe: &Probe, path: &Path) -> Result<Answer, Refusal> {
    let (answer, capture) = world.record(probe);
    let written = File::create(path).and_then(|file| capture.write_to(BufWriter::new(file)));
    written.map_err(|e| Refusal::Words(format!("cannot write {}: {e}", path.display())))?;
    Ok(answer)
}

fn text(probe: &Probe, outcome: &Outcome, trace: &Trace) -> String {
    let style = if matches!(outcome, Outcome::Reaches { .. }) { GOOD } else { BAD };
    let columns = style::columns();
    let journey = match trace.hops.as_slice() {
        [] => "no packet was sent\n".to_owned(),
        [..] => format!("{trace:columns$}"),
    };
    let (asked, got) = (probe.to_string(), outcome.to_string());
    let between = if width(&asked) + 2 + width(&got) <= columns { "  " } else { "\n    " };
    format!("{}{between}{}\n\n{journey}", paint(HEAD, &asked), paint(style, &got))
}

/// The probe of the command line; a mistake in it is shown where it stands.
fn parse(text: &str) -> Result<Probe, Diagnostics> {
    text.parse().map_err(|e: seatrial_core::probe::text::TextError| {
        Diagnostic::new(At::new(&source(text), e.span), e.found).expected(e.expected).into()
    })
}

fn source(text: &str) -> Arc<Source> {
    Arc::new(Source { name: "PROBE".to_owned(), text: text.to_owned() })
}

/// Refuses a source that the plan does not have.
fn known(plan: &Plan, from: &NodeName, text: &str) -> Result<(), Diagnostics> {
    let nodes = plan.items.iter().filter_map(|item| {
        if let Object::Process(process) = &item.object { Some(process.node.as_str()) } else { None }
    });
    let nodes: Vec<&str> = nodes.collect();
    if nodes.contains(&from.as_str()) {
        return Ok(());
    }
    let start = text.find(from.as_str()).unwrap_or(0);
    let at = At::new(&source(text), start..start + from.as_str().len());
    let found = format!("there is no node '{from}'");
    Err(Diagnostic::new(at, found).expected(format!("one of {}", nodes.join(", "))).into())
}
