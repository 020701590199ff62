//! What this machine is and has.

use std::env;
use std::path::Path;

use nix::sys::utsname::uname;

use super::Error;
use crate::engine::Version;

/// Where administrators' tools are, whether or not an ordinary user's PATH says so.
pub(super) const SBIN: &str = "/usr/sbin:/sbin:/usr/local/sbin";
/// The tools that write rules, and the package that each comes with.
const TOOLS: [(&str, &str); 2] = [("iptables-restore", "iptables"), ("ip6tables-restore", "iptables")];

/// The kernel's version.
#[must_use]
pub fn kernel() -> Option<Version> {
    let name = uname().ok()?;
    let mut numbers = name.release().to_str()?.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let mut number = || numbers.next().and_then(Result::ok);
    Some(Version { major: number()?, minor: number(), patch: number() })
}

/// Whether the tools are here that any plan needs.
///
/// # Errors
/// The first that is missing, and how to get it.
pub fn tools() -> Result<(), Error> {
    let path = path();
    let missing =
        |(tool, _): &&(&str, &str)| !env::split_paths(&path).any(|folder| folder.join(tool).exists());
    match TOOLS.iter().find(missing) {
        Some((tool, package)) => {
            let cause = format!("it is in none of {}", Path::new(&path).display());
            Err(Error::words("find", *tool, cause).missing(format!("install {package}")))
        }
        None => Ok(()),
    }
}

/// The folders where tools are looked for.
pub(super) fn path() -> std::ffi::OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":");
    path.push(SBIN);
    path
}
