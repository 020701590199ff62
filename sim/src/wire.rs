//! Faults of a wire: cut, or lossy.

use serde::{Deserialize, Serialize};

/// What is done to a device's wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Nothing passes, in either direction; the link stays up.
    Cut,
    /// Everything passes again.
    Heal,
    /// So many percent of the frames are lost, in either direction.
    Loss(u8),
}

/// The state of a wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wire {
    pub(crate) cut: bool,
    pub(crate) loss_percent: u8,
}

impl Wire {
    /// The wire after a fault.
    pub(crate) const fn after(self, fault: Fault) -> Self {
        match fault {
            Fault::Cut => Self { cut: true, ..self },
            Fault::Heal => Self { cut: false, loss_percent: 0 },
            Fault::Loss(loss_percent) => Self { loss_percent, ..self },
        }
    }
}
