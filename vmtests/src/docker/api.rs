//! Calls to the Engine's API, over its Unix socket.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use bollard::models::{
    ContainerUpdateBody, EndpointSettings, NetworkConnectRequest, NetworkDisconnectRequest, RestartPolicy,
    RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptions, RemoveContainerOptions, StartContainerOptions,
    StopContainerOptions,
};
use bollard::{API_DEFAULT_VERSION, Docker, body_full};
use futures_util::StreamExt;
use seatrial_core::linux::Error;
use seatrial_core::topology::{Container, Driver, Host, IpvlanOptions, MacvlanOptions, Network};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::container::{IMAGE, network_name, request};
use super::network;

/// The first API whose `POST /containers/create` takes several networks (Engine 25).
const SEVERAL_NETWORKS: (usize, usize) = (1, 44);

/// How much longer a call may take than the Engine's coming up, in seconds.
const LONGER_S: u64 = 5;

/// The API of an Engine that has come up.
pub(crate) struct Api {
    runtime: Runtime,
    docker: Docker,
}

impl Api {
    /// Calls at a socket, and waits until the Engine has come up.
    ///
    /// # Errors
    /// Where it ends before that, or takes longer than `patience`.
    pub(crate) fn of(socket: &Path, patience: Duration) -> Result<Self, Error> {
        let failed = |cause: String| Error::words("start", "dockerd", cause);
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| failed(e.to_string()))?;
        let path = socket.to_str().ok_or_else(|| failed(format!("{} is no path", socket.display())))?;
        // The client's own patience with each call is not to end first.
        let longer = patience.as_secs().saturating_add(LONGER_S);
        let docker = Docker::connect_with_unix(path, longer, API_DEFAULT_VERSION);
        let docker = docker.map_err(|e| failed(e.to_string()))?;
        let called = runtime.block_on(async { timeout(patience, docker.negotiate_version()).await });
        let docker = called
            .map_err(|_| failed(format!("it did not come up within {} s", patience.as_secs())))?
            .map_err(|_| failed("it ended before it came up".to_owned()))?;
        Ok(Self { runtime, docker })
    }

    pub(super) const fn docker(&self) -> &Docker {
        &self.docker
    }

    pub(super) fn call<T>(
        &self,
        operation: &str,
        object: &str,
        call: impl Future<Output = Result<T, bollard::errors::Error>>,
    ) -> Result<T, Error> {
        self.runtime.block_on(call).map_err(|e| Error::words(operation, object, words(e)))
    }

    /// Makes the image of a tar archive.
    ///
    /// # Errors
    /// In the Engine's words.
    pub(crate) fn import(&self, tar: &[u8]) -> Result<(), Error> {
        let (repo, tag) = IMAGE.split_once(':').unwrap_or((IMAGE, "latest"));
        let options = CreateImageOptions {
            from_src: Some("-".to_owned()),
            repo: Some(repo.to_owned()),
            tag: Some(tag.to_owned()),
            ..CreateImageOptions::default()
        };
        let mut steps = self.docker.create_image(Some(options), Some(body_full(tar.to_vec().into())), None);
        self.call("import", "the image", async {
            while let Some(step) = steps.next().await {
                step?;
            }
            Ok(())
        })
    }

    /// Makes a network.
    ///
    /// # Errors
    /// In the Engine's words.
    pub(crate) fn create_network(&self, network: &Network) -> Result<(), Error> {
        let Some(request) = network::request(network) else { return Ok(()) };
        let object = format!("network {}", network.name);
        self.call("make", &object, self.docker.create_network(request))
            .map(drop)
            .map_err(|e| unknown_driver(network, e))
    }

    /// Makes a container, which calls at the door of a number; it is not started.
    ///
    /// # Errors
    /// In the Engine's words.
    pub(crate) fn create(&self, host: &Host, container: &Container, door: usize) -> Result<(), Error> {
        let version = self.docker.client_version();
        let at_once = (version.major_version, version.minor_version) >= SEVERAL_NETWORKS;
        let made = request(host, container, door, at_once);
        let options = CreateContainerOptions {
            name: Some(container.name.clone()),
            ..CreateContainerOptions::default()
        };
        let object = format!("container {}", container.name);
        self.call("make", &object, self.docker.create_container(Some(options), made.body))?;
        made.then
            .into_iter()
            .try_for_each(|(network, endpoint)| self.join(&container.name, &network, endpoint))
    }

    fn join(&self, container: &str, network: &str, endpoint: EndpointSettings) -> Result<(), Error> {
        let request =
            NetworkConnectRequest { container: container.to_owned(), endpoint_config: Some(endpoint) };
        let object = format!("{container} to {network}");
        self.call("connect", &object, self.docker.connect_network(network, request))
    }

    /// Starts a container.
    ///
    /// # Errors
    /// In the Engine's words.
    pub(crate) fn start(&self, host: &Host, container: &Container) -> Result<(), Error> {
        let object = format!("container {}", container.name);
        let call = self.docker.start_container(&container.name, None::<StartContainerOptions>);
        let shared = |e| host.networks.iter().fold(e, |e, network| unknown_driver(network, e));
        self.call("start", &object, call).map_err(shared)
    }

    /// Stops a container, at once.
    ///
    /// # Errors
    /// In the Engine's words.
    pub(crate) fn stop(&self, container: &Container) -> Result<(), Error> {
        let options = StopContainerOptions { t: Some(0), ..StopContainerOptions::default() };
        let object = format!("container {}", container.name);
        self.call("stop", &object, self.docker.stop_container(&container.name, Some(options)))
    }

    /// Says whether the Engine is to start a container by itself, after whatever ended it.
    ///
    /// # Errors
    /// In the Engine's words.
    pub(crate) fn keep(&self, container: &Container, running: bool) -> Result<(), Error> {
        let name = if running { RestartPolicyNameEnum::ALWAYS } else { RestartPolicyNameEnum::NO };
        let restart_policy = Some(RestartPolicy { name: Some(name), maximum_retry_count: None });
        let update = ContainerUpdateBody { restart_policy, ..ContainerUpdateBody::default() };
        let object = format!("container {}", container.name);
        self.call("update", &object, self.docker.update_container(&container.name, update)).map(drop)
    }

    /// Removes a container, running or not.
    ///
    /// # Errors
    /// In the Engine's words.
    pub(crate) fn remove(&self, container: &Container) -> Result<(), Error> {
        let options = RemoveContainerOptions { force: true, ..RemoveContainerOptions::default() };
        let object = format!("container {}", container.name);
        self.call("remove", &object, self.docker.remove_container(&container.name, Some(options)))
    }

    /// Connects a container to a network, by its key or Docker's name.
    ///
    /// # Errors
    /// In the Engine's words.
    pub(crate) fn connect(&self, host: &Host, container: &Container, network: &str) -> Result<(), Error> {
        self.join(&container.name, &network_name(host, network), EndpointSettings::default())
    }

    /// Takes a container off a network.
    ///
    /// # Errors
    /// In the Engine's words.
    pub(crate) fn disconnect(&self, host: &Host, container: &Container, network: &str) -> Result<(), Error> {
        let network = network_name(host, network);
        let request = NetworkDisconnectRequest { container: container.name.clone(), force: None };
        let object = format!("{} from {network}", container.name);
        self.call("disconnect", &object, self.docker.disconnect_network(&network, request))
    }
}

/// The Engine's own words, without the client's around them.
fn words(error: bollard::errors::Error) -> String {
    if let bollard::errors::Error::DockerResponseServerError { message, .. } = error {
        return message;
    }
    error.to_string()
}

/// An Engine says of a driver that this kernel has not only that it is not supported.
fn unknown_driver(network: &Network, error: Error) -> Error {
    let option = match network.driver {
        Driver::Macvlan(MacvlanOptions { parent: None, .. })
        | Driver::Ipvlan(IpvlanOptions { parent: None, .. }) => "CONFIG_DUMMY",
        Driver::Macvlan(_) => "CONFIG_MACVLAN",
        Driver::Ipvlan(_) => "CONFIG_IPVLAN",
        Driver::Bridge(_) | Driver::Host | Driver::None => return error,
    };
    if error.cause.contains("not supported") {
        return error.missing(format!("a kernel with {option} has it"));
    }
    error
}
