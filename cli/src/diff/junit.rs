//! Differences as JUnit's XML: a case that fails for each class of them, and one that succeeds where there is none.

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};
use seatrial_sim::questions::diff::{Change, Diff};

use super::{Network, outcome, question, summary};

/// All of it.
pub(super) fn render(diff: &Diff, before: &Network, after: &Network) -> Result<String, SerializeError> {
    let mut suite = TestSuite::new("seatrial diff");
    suite.add_property(("before", before.name.as_str()));
    suite.add_property(("after", after.name.as_str()));
    if diff.changes.is_empty() {
        suite.add_test_case(TestCase::new(summary(diff), TestCaseStatus::success()));
    }
    suite.add_test_cases(diff.changes.iter().map(case));
    let mut report = Report::new("seatrial");
    report.add_test_suite(suite);
    report.to_string()
}

fn case(change: &Change) -> TestCase {
    let [was, is] = [outcome(change, |pair| &pair.before), outcome(change, |pair| &pair.after)];
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    let example = change.questions.first().map(question).unwrap_or_default();
    let all: Vec<String> = change.questions.iter().map(question).collect();
    let journeys = format!(
        "{}\n\nbefore: {was}\n{}\nafter: {is}\n{}",
        all.join("\n"),
        change.example.before.trace.brief(),
        change.example.after.trace.brief()
    );
    status.set_message(format!("before: {was}; after: {is}")).set_description(journeys);
    let mut case = TestCase::new(format!("{example} {}", change.kind), status);
    case.set_classname("diff");
    case
}
