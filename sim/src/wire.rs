//! A wire, and what its faults make of it.

use seatrial_core::probe::Fault;

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
