//! Which services are enabled, and in which order they start.

use std::collections::{BTreeMap, BTreeSet};

use super::check;
use super::service::{Need, Service};
use crate::diagnostic::{Diagnostic, Diagnostics};

/// The services that have no profile, or an active one; every reference between them is checked.
/// `refused` are the names of services that could not be read: nothing is said of who needs them.
pub(super) fn enabled(
    all: Vec<Service>,
    refused: &BTreeSet<&str>,
    active: &BTreeSet<String>,
    out: &mut Diagnostics,
) -> Vec<Service> {
    let every = active.contains("*");
    let on = |s: &Service| every || s.profiles.is_empty() || !s.profiles.is_disjoint(active);
    let (mut enabled, disabled): (Vec<_>, Vec<_>) = all.into_iter().partition(on);
    let names: BTreeSet<String> = enabled.iter().map(|s| s.name.clone()).collect();
    let disabled: BTreeMap<String, Service> = disabled.into_iter().map(|s| (s.name.clone(), s)).collect();
    for service in &mut enabled {
        let needs = std::mem::take(&mut service.needs).into_iter();
        let (there, missing): (Vec<_>, Vec<_>) = needs.partition(|need| names.contains(&need.service));
        service.needs = there;
        for need in missing.into_iter().filter(|n| !refused.contains(n.service.as_str())) {
            let other = disabled.get(&need.service);
            if need.required || other.is_none() {
                out.push(undefined(&service.name, &need, other, &names, out));
            }
        }
    }
    enabled
}

fn undefined(
    service: &str,
    need: &Need,
    disabled: Option<&Service>,
    names: &BTreeSet<String>,
    out: &Diagnostics,
) -> Diagnostic {
    let found = format!("service '{service}' depends on undefined service '{}'", need.service);
    let diagnostic = Diagnostic::new(need.at.clone(), found);
    match disabled {
        Some(other) => {
            let profiles: Vec<&str> = other.profiles.iter().map(String::as_str).collect();
            let expected = format!("one of its profiles to be active: {}", profiles.join(", "));
            diagnostic.expected(expected).related(other.at.clone(), "it is here, and not enabled")
        }
        None => {
            let near = check::suggest(&need.service, names.iter().map(String::as_str), out);
            let expected = near.map_or("a key of 'services'".to_owned(), |near| format!("'{near}'"));
            diagnostic.expected(expected)
        }
    }
}

/// The services, each behind those it needs, and else as they are written. Compose starts independent ones at the
/// same time, in no order.
pub(super) fn by_need(services: Vec<Service>, out: &mut Diagnostics) -> Vec<Service> {
    let places: BTreeMap<String, usize> =
        services.iter().enumerate().map(|(i, s)| (s.name.clone(), i)).collect();
    let needs = |s: &Service| -> BTreeSet<usize> {
        s.needs.iter().filter_map(|n| places.get(&n.service).copied()).collect()
    };
    let mut waiting: Vec<BTreeSet<usize>> = services.iter().map(needs).collect();
    let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); services.len()];
    for (place, needs) in waiting.iter().enumerate() {
        for need in needs {
            if let Some(by) = needed_by.get_mut(*need) {
                by.push(place);
            }
        }
    }
    let free = waiting.iter().enumerate().filter(|(_, needs)| needs.is_empty());
    let mut ready: BTreeSet<usize> = free.map(|(place, _)| place).collect();
    let mut ranks = BTreeMap::new();
    while ranks.len() < services.len() {
        let Some(place) = ready.pop_first() else {
            // A circle: once it is reported, one of it goes first.
            let Some((first, diagnostic)) = cycle(&services, &waiting) else { break };
            out.push(diagnostic);
            waiting.get_mut(first).map(BTreeSet::clear);
            ready.insert(first);
            continue;
        };
        ranks.insert(place, ranks.len());
        for by in needed_by.get(place).into_iter().flatten() {
            if let Some(needs) = waiting.get_mut(*by)
                && needs.remove(&place)
                && needs.is_empty()
            {
                ready.insert(*by);
            }
        }
    }
    let mut ranked: Vec<(usize, Service)> = services
        .into_iter()
        .enumerate()
        .map(|(place, service)| (ranks.get(&place).copied().unwrap_or(usize::MAX), service))
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, service)| service).collect()
}

/// The first circle among services that wait for one another, and the one of it that is written first.
fn cycle(services: &[Service], waiting: &[BTreeSet<usize>]) -> Option<(usize, Diagnostic)> {
    let mut at = waiting.iter().position(|needs| !needs.is_empty())?;
    let mut path = Vec::new();
    let mut seen = BTreeSet::new();
    while seen.insert(at) {
        path.push(at);
        at = *waiting.get(at)?.first()?;
    }
    let mut circle = path.split_off(path.iter().position(|place| *place == at)?);
    let first = circle.iter().enumerate().min_by_key(|(_, place)| **place).map(|(i, _)| i)?;
    circle.rotate_left(first);
    let (first, next) = (*circle.first()?, *circle.get(1).or(circle.first())?);
    let names = circle.iter().chain([&first]).filter_map(|place| services.get(*place));
    let names: Vec<&str> = names.map(|s| s.name.as_str()).collect();
    let (service, next) = (services.get(first)?, services.get(next)?);
    let need = service.needs.iter().find(|n| n.service == next.name)?;
    let found = format!("dependency cycle detected: {}", names.join(" -> "));
    Some((first, Diagnostic::new(need.at.clone(), found)))
}
