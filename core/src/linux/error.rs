//! What could not be done, with which object, and why.

use std::io;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// An object that could not be made, found or taken away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("cannot {operation} {object}: {cause}{}", .help.as_ref().map(|help| format!("; {help}")).unwrap_or_default())]
pub struct Error {
    /// The object, as the plan's text names it: `veth93a7895 in host`.
    pub object: String,
    /// What was done with it: `make`, `take away`, `enter`.
    pub operation: String,
    /// Why it failed, in the kernel's or the tool's words.
    pub cause: String,
    /// The kernel's number for that, where it is the kernel's word (man 3 errno).
    pub errno: Option<i32>,
    /// What the user can install, enable or do.
    pub help: Option<String>,
    /// Whether this machine has no such thing at all: a kernel without a device type, no `nft`, no right to it. Only
    /// what needs it cannot be tried here.
    pub missing: bool,
}

impl Error {
    /// A failure of the kernel's or of a file.
    #[must_use]
    pub fn new(operation: &str, object: impl Into<String>, cause: &io::Error) -> Self {
        let errno = cause.raw_os_error();
        let words = errno.map_or_else(|| cause.to_string(), |n| Errno::from_raw(n).desc().to_owned());
        Self { errno, ..Self::words(operation, object, words) }
    }

    /// A failure in words.
    #[must_use]
    pub fn words(operation: &str, object: impl Into<String>, cause: impl Into<String>) -> Self {
        let (object, operation, cause) = (object.into(), operation.to_owned(), cause.into());
        Self { object, operation, cause, errno: None, help: None, missing: false }
    }

    /// The same, with what the user can do about it.
    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// The same, because this machine has no such thing.
    #[must_use]
    pub fn missing(self, help: impl Into<String>) -> Self {
        Self { missing: true, ..self.help(help) }
    }
}
