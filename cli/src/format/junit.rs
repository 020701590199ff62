//! Trials as JUnit's XML: a suite a trial, a case an expectation and column; and a suite of
//! the machines that were lost.

use quick_junit::{NonSuccessKind, SerializeError, TestCase, TestCaseStatus, TestSuite};
use seatrial_core::diagnostic::Diagnostics;
use seatrial_vmtests::report::{Checked, Column, Machine, Report, Row, Verdict};

use crate::format::Again;

/// All reports as one document.
pub(crate) fn render(checked: &Checked, again: Again) -> Result<String, SerializeError> {
    let Checked { reports, machines, .. } = checked;
    let mut document = quick_junit::Report::new("seatrial");
    document.add_test_suites(reports.iter().map(|report| suite(report, again)));
    let lost: Vec<TestCase> =
        machines.iter().filter_map(|(column, machine)| lost(*column, machine)).collect();
    if !lost.is_empty() {
        let mut suite = TestSuite::new("virtual machines");
        suite.add_test_cases(lost);
        document.add_test_suite(suite);
    }
    document.to_string()
}

/// A machine that did not come up, or whose kernel complained of itself.
fn lost(column: Column, machine: &Machine) -> Option<TestCase> {
    let why = machine.as_ref().err()?;
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_message("the machine is lost").set_description(why.as_str());
    let mut case = TestCase::new("comes up, and its kernel does not complain", status);
    case.set_classname(column.to_string());
    Some(case)
}

fn suite(report: &Report, again: Again) -> TestSuite {
    let mut suite = TestSuite::new(&report.file);
    suite.add_property(("title", report.title.as_str()));
    suite.add_property(("group", report.group.as_str()));
    for (column, took) in &report.took {
        suite.add_property((format!("seconds {column}"), format!("{:.3}", took.as_secs_f64())));
    }
    if !report.took.is_empty() {
        suite.set_time(report.took.values().sum());
    }
    match &report.rows {
        Ok(rows) => suite.add_test_cases(rows.iter().flat_map(|row| {
            row.verdicts.iter().map(move |(column, verdict)| case(report, row, *column, verdict, again))
        })),
        Err(diagnostics) => suite.add_test_case(refused(report, diagnostics)),
    };
    suite
}

fn case(report: &Report, row: &Row, column: Column, verdict: &Verdict, again: Again) -> TestCase {
    let status = match verdict {
        Verdict::Held => TestCaseStatus::success(),
        Verdict::Failed { got, trace } => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            let again = again.command(column, &report.file).map(|command| format!("again: {command}\n"));
            let journey = format!("{}\n{trace}{}", row.at, again.unwrap_or_default());
            status.set_message(format!("got: {got}")).set_description(journey);
            status
        }
        Verdict::Skipped { reason: why } | Verdict::Unsupported { what: why } => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(why.as_str());
            status
        }
    };
    let mut case = TestCase::new(format!("{} {}", row.asked, row.expected).trim_end(), status);
    case.set_classname(format!("{}.{column}", report.group));
    case
}

fn refused(report: &Report, diagnostics: &Diagnostics) -> TestCase {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status.set_message("the trial is refused").set_description(diagnostics.to_string());
    let mut case = TestCase::new(report.title.as_str(), status);
    case.set_classname(report.group.as_str());
    case
}
