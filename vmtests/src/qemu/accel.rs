//! What carries a machine out: the processor, where it can, or an emulator of one.

use std::fs::{self, File};
use std::io;

/// What runs a machine's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accel {
    /// The processor, by /dev/kvm.
    Kvm,
    /// QEMU's own translator.
    Tcg,
}

impl Accel {
    /// As QEMU names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }

    /// The processor that a guest sees. Under KVM the machine's own: models that QEMU knows may ask for what it has not.
    pub(super) const fn cpu(self) -> &'static str {
        match self {
            Self::Kvm => "host",
            Self::Tcg => "qemu64",
        }
    }
}

/// The device.
const KVM: &str = "/dev/kvm";

/// Whether KVM may run guests here, without a try: a device that opens proves nothing where the processor's own
/// virtualization is not there to be used; such guests hang or panic.
///
/// # Errors
/// What is missing.
pub(crate) fn kvm_may_run() -> io::Result<()> {
    let of = |e: io::Error| io::Error::new(e.kind(), format!("{KVM}: {e}"));
    File::options().read(true).write(true).open(KVM).map_err(of)?;
    let processor = fs::read_to_string("/proc/cpuinfo")?;
    if virtualizes(&processor) {
        Ok(())
    } else {
        Err(io::Error::other("the processor has neither vmx nor svm"))
    }
}

/// Whether /proc/cpuinfo speaks of a processor that runs guests (Intel's VMX, AMD's SVM).
fn virtualizes(cpuinfo: &str) -> bool {
    let flags = cpuinfo.lines().filter(|line| line.starts_with("flags"));
    flags.flat_map(str::split_whitespace).any(|flag| matches!(flag, "vmx" | "svm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_says_whether_it_runs_guests() {
        assert!(virtualizes("model name\t: x\nflags\t\t: fpu vmx smx\n"));
        assert!(virtualizes("flags\t\t: fpu svm\n"));
        assert!(!virtualizes("model name\t: vmx\nflags\t\t: fpu hypervisor\nvmx flags\t: vnmi\n"));
    }
}
