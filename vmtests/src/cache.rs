//! Where things stand that took a while to fetch or to make.

use std::env;
use std::path::PathBuf;

/// The folder that a variable of the environment names, or that of the user's cache which has this name (XDG Base
/// Directory Specification); none where there is neither.
pub(crate) fn folder(variable: &str, name: &str) -> Option<PathBuf> {
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cache"));
    let cache = || env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    env::var_os(variable).map(PathBuf::from).or_else(|| Some(cache()?.join("seatrial").join(name)))
}
