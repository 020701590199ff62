//! What an Engine calls its containers, and what they call each other.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, EndpointSettings};
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptions};
use seatrial_core::linux::Error;
use seatrial_core::linux::observe::host::{Attached, Named};

use super::Api;

/// How long the Engine may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Compose's labels.
const SERVICE: &str = "com.docker.compose.service";
const NUMBER: &str = "com.docker.compose.container-number";

/// The Engine's version, and its running containers in the order of their names. Of two that would be called alike here
/// both have their own names.
///
/// # Errors
/// Where there is no Engine at the socket, in its words.
pub fn named(socket: &Path) -> Result<(String, Vec<Named>), Error> {
    let api = Api::of(socket, PATIENCE)?;
    let version = api.version()?;
    let mut all: Vec<(String, Named)> = api.running()?.iter().filter_map(container).collect();
    all.sort_by(|(_, a), (_, b)| a.container.cmp(&b.container));
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    all.iter().for_each(|(node, _)| *counts.entry(node.clone()).or_default() += 1);
    let named = all.into_iter().map(|(node, named)| {
        let alone = counts.get(&node).is_some_and(|count| *count == 1) && node != "host" && node != "lan";
        Named { node: if alone { node } else { named.container.clone() }.into(), ..named }
    });
    Ok((version, named.collect()))
}

impl Api {
    fn version(&self) -> Result<String, Error> {
        let version = self.call("ask", "the Engine for its version", self.docker().version())?;
        Ok(version.version.unwrap_or_default())
    }

    fn running(&self) -> Result<Vec<ContainerInspectResponse>, Error> {
        let options = ListContainersOptions::default();
        let listed = self.call("list", "containers", self.docker().list_containers(Some(options)))?;
        let ids = listed.into_iter().filter_map(|container| container.id);
        let inspect = |id: String| {
            let options: Option<InspectContainerOptions> = None;
            self.call("inspect", &format!("container {id}"), self.docker().inspect_container(&id, options))
        };
        ids.map(inspect).collect()
    }
}

/// A container, and what it would be called here; none where it has no process.
fn container(found: &ContainerInspectResponse) -> Option<(String, Named)> {
    let pid = u32::try_from(found.state.as_ref()?.pid?).ok().filter(|pid| *pid > 0)?;
    let container = found.name.as_deref()?.trim_start_matches('/').to_owned();
    let labels = found.config.as_ref().and_then(|config| config.labels.as_ref());
    let label = |name: &str| labels.and_then(|labels| labels.get(name)).map(String::as_str);
    let node = match (label(SERVICE), label(NUMBER)) {
        (Some(service), None | Some("1")) => service.to_owned(),
        (Some(service), Some(number)) => format!("{service}.{number}"),
        (None, _) => container.clone(),
    };
    let short: String = found.id.as_deref().unwrap_or_default().chars().take(12).collect();
    let networks = found.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
    let mut networks: Vec<Attached> =
        networks.into_iter().flatten().map(|(name, end)| attached(name, end, &container, &short)).collect();
    networks.sort_by(|a, b| a.network.cmp(&b.network));
    let named = Named { node: node.as_str().into(), container, pid, networks };
    Some((node, named))
}

/// On the default bridge nobody has a name.
fn attached(network: &str, end: &EndpointSettings, container: &str, short: &str) -> Attached {
    let told = end.dns_names.clone().unwrap_or_default();
    let older = [container.to_owned()].into_iter().chain(end.aliases.clone().unwrap_or_default());
    let older = older.chain([short.to_owned()]).filter(|name| !name.is_empty());
    let mut names: Vec<String> = if told.is_empty() { older.collect() } else { told };
    if network == "bridge" {
        names.clear();
    }
    let addresses = [end.ip_address.as_deref(), end.global_ipv6_address.as_deref()];
    let addresses = addresses.into_iter().flatten().filter_map(|address| address.parse().ok()).collect();
    Attached { network: network.to_owned(), names, addresses }
}
