//! The kernels that there are to boot: what `scripts/kernels.sh` fetched.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use seatrial_core::engine::Version;
use serde::Deserialize;

/// What lists them.
const MANIFEST: &str = "manifest.json";
/// What names another folder.
const VARIABLE: &str = "SEATRIAL_KERNELS";
/// How to get them.
pub const HOW: &str = "fetch kernels with scripts/kernels.sh";

/// A kernel that can be booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// Its version: 6.12.
    pub version: Version,
    /// The image: a bzImage or a vmlinux.
    pub image: PathBuf,
    /// The folder of its modules: `…/lib/modules/6.12.118+deb13-cloud-amd64`.
    pub modules: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Line {
    version: String,
    image: PathBuf,
    modules: PathBuf,
}

/// The kernels of a folder, oldest first; without one that of the environment, or of the user's cache.
///
/// # Errors
/// A manifest that is missing or cannot be read, with how to get one.
pub fn list(folder: Option<&Path>) -> io::Result<Vec<Kernel>> {
    let folder = folder.map(Path::to_owned).or_else(folder_of_user).unwrap_or_default();
    let path = folder.join(MANIFEST);
    let of = |e: io::Error| io::Error::new(e.kind(), format!("cannot read {}: {e}; {HOW}", path.display()));
    let text = fs::read_to_string(&path).map_err(of)?;
    let lines: Vec<Line> = serde_json::from_str(&text).map_err(|e| of(e.into()))?;
    let kernel = |line: Line| {
        let version = line.version.parse().map_err(|e| of(io::Error::other(e)))?;
        Ok(Kernel { version, image: folder.join(line.image), modules: folder.join(line.modules) })
    };
    let mut kernels = lines.into_iter().map(kernel).collect::<io::Result<Vec<_>>>()?;
    kernels.sort_by_key(|kernel| kernel.version);
    Ok(kernels)
}

fn folder_of_user() -> Option<PathBuf> {
    let cache = || {
        let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        Some(
            cache
                .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))?
                .join("seatrial/kernels"),
        )
    };
    env::var_os(VARIABLE).map(PathBuf::from).or_else(cache)
}

/// The one of a version among them.
#[must_use]
pub fn of(kernels: &[Kernel], version: Version) -> Option<&Kernel> {
    kernels.iter().find(|kernel| {
        let Version { major, minor, .. } = kernel.version;
        major == version.major && version.minor.is_none_or(|wanted| minor == Some(wanted))
    })
}
