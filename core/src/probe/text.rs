//! The text of probes, outcomes, facts, changes and steps.
