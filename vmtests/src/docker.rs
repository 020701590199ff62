//! A private Docker Engine on a stage, and the trial's networks and containers in it, made through its API.
//!
//! * `api`: the calls, and what it means that one fails. `daemon`: its `daemon.json`.
//! * [`named`]: what the Engine of a host that is looked at calls its containers.
//! * `network`, `container`: a topology's, in the words of the API. `image`: what containers are made of.

mod api;
mod container;
mod daemon;
mod image;
pub mod named;
mod network;

pub(crate) use api::Api;
pub(crate) use daemon::{config, lacks};
pub(crate) use image::pack;
