//! The kernels that there are to boot: what `scripts/kernels.sh` fetched, or what a Nix store holds, by one list; and any
//! other by its path.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use seatrial_core::engine::Version;
use serde::Deserialize;

use crate::cache;

mod image;

pub(crate) use image::vmlinux;

/// What lists them.
const MANIFEST: &str = "manifest.json";
/// What names another folder.
const VARIABLE: &str = "SEATRIAL_KERNELS";
/// How to get them.
pub const HOW: &str = "fetch kernels with scripts/kernels.sh";

/// A kernel that can be booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// Its version: 6.12; to the patch where it was named by its path.
    pub version: Version,
    /// The image: a bzImage or a vmlinux.
    pub image: PathBuf,
    /// The folder of its modules: `…/lib/modules/6.12.118+deb13-cloud-amd64`; none for a kernel that has all built in.
    pub modules: Option<PathBuf>,
}

/// A kernel that is asked for: `6.12` of those that are listed, or `IMAGE[:MODULES]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// One of those that are listed.
    Listed(Version),
    /// This one.
    Given(Kernel),
}

impl Wanted {
    /// Its version.
    #[must_use]
    pub const fn version(&self) -> Version {
        match self {
            Self::Listed(version) | Self::Given(Kernel { version, .. }) => *version,
        }
    }
}

impl FromStr for Wanted {
    type Err = io::Error;

    fn from_str(s: &str) -> io::Result<Self> {
        s.parse().map(Self::Listed).or_else(|_| given(s).map(Self::Given))
    }
}

/// The kernel of a path, with modules where they are named, or stand where a package has them.
fn given(text: &str) -> io::Result<Kernel> {
    let (image, modules) = match text.split_once(':') {
        Some((image, modules)) => (PathBuf::from(image), Some(PathBuf::from(modules))),
        None => (PathBuf::from(text), None),
    };
    let release = image::release(&image)?;
    let version = image::version(&release).ok_or_else(|| {
        io::Error::other(format!("{} calls itself '{release}', which is no version", image.display()))
    })?;
    if let Some(folder) = modules.as_ref().filter(|folder| !folder.is_dir()) {
        return Err(io::Error::other(format!("no folder {}", folder.display())));
    }
    let modules = modules.or_else(|| beside(&image, &release));
    Ok(Kernel { version, image, modules })
}

/// The modules of an image: in its own folder, or in /lib/modules of the tree that it stands in.
fn beside(image: &Path, release: &str) -> Option<PathBuf> {
    let folder = image.parent()?;
    let trees = [Some(folder), folder.parent()].into_iter().flatten();
    let places =
        trees.flat_map(|tree| ["lib/modules", "usr/lib/modules"].map(|lib| tree.join(lib).join(release)));
    [folder.to_owned()].into_iter().chain(places).find(|place| place.join("kernel").is_dir())
}

#[derive(Debug, Deserialize)]
struct Line {
    version: String,
    image: PathBuf,
    modules: Option<PathBuf>,
}

/// The kernels of a folder, oldest first; without one that of the environment, or of the user's cache.
///
/// # Errors
/// A manifest that is missing, cannot be read, or lists a version twice, with how to get one.
pub fn list(folder: Option<&Path>) -> io::Result<Vec<Kernel>> {
    let folder =
        folder.map(Path::to_owned).or_else(|| cache::folder(VARIABLE, "kernels")).unwrap_or_default();
    let path = folder.join(MANIFEST);
    let of = |e: io::Error| io::Error::new(e.kind(), format!("cannot read {}: {e}; {HOW}", path.display()));
    let text = fs::read_to_string(&path).map_err(of)?;
    let lines: Vec<Line> = serde_json::from_str(&text).map_err(|e| of(e.into()))?;
    let kernel = |line: Line| {
        let version = line.version.parse().map_err(|e| of(io::Error::other(e)))?;
        let modules = line.modules.map(|modules| folder.join(modules));
        Ok(Kernel { version, image: folder.join(line.image), modules })
    };
    let mut kernels = lines.into_iter().map(kernel).collect::<io::Result<Vec<_>>>()?;
    kernels.sort_by_key(|kernel| kernel.version);
    once(&kernels).map_err(|version| of(io::Error::other(format!("kernel {version} is listed twice"))))?;
    Ok(kernels)
}

/// The version that stands twice among kernels in order.
fn once(kernels: &[Kernel]) -> Result<(), Version> {
    let twice = kernels.windows(2).find_map(|pair| match pair {
        [one, other] if one.version == other.version => Some(one.version),
        _ => None,
    });
    twice.map_or(Ok(()), Err)
}

/// The kernels that are wanted, oldest first and each once; the newest that is listed where none is.
///
/// # Errors
/// One that is not listed, or two different ones of the same version.
pub fn find(wanted: &[Wanted]) -> io::Result<Vec<Kernel>> {
    let listed = |one: &Wanted| matches!(one, Wanted::Listed(_));
    let known = if wanted.is_empty() || wanted.iter().any(listed) { list(None)? } else { Vec::new() };
    let mut found = match wanted {
        [] => vec![known.last().cloned().ok_or_else(|| missing(&known, "at all"))?],
        some => some.iter().map(|one| resolve(&known, one)).collect::<io::Result<_>>()?,
    };
    found.sort_by_key(|kernel| kernel.version);
    found.dedup();
    once(&found).map_err(|version| {
        io::Error::other(format!("there are two kernels {version}: run them one after the other"))
    })?;
    Ok(found)
}

fn resolve(known: &[Kernel], wanted: &Wanted) -> io::Result<Kernel> {
    match wanted {
        Wanted::Given(kernel) => Ok(kernel.clone()),
        Wanted::Listed(version) => {
            of(known, *version).cloned().ok_or_else(|| missing(known, &version.to_string()))
        }
    }
}

fn missing(known: &[Kernel], wanted: &str) -> io::Error {
    let have: Vec<String> = known.iter().map(|kernel| kernel.version.to_string()).collect();
    io::Error::other(format!("no kernel {wanted} among those that are here ({}); {HOW}", have.join(", ")))
}

/// The one of a version among them. Only as many numbers count as it has.
fn of(kernels: &[Kernel], version: Version) -> Option<&Kernel> {
    let same = |wanted: Option<u32>, have: Option<u32>| wanted.is_none() || wanted == have;
    kernels.iter().find(|Kernel { version: have, .. }| {
        have.major == version.major && same(version.minor, have.minor) && same(version.patch, have.patch)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(version: &str, image: &str) -> Kernel {
        Kernel { version: version.parse().unwrap(), image: PathBuf::from(image), modules: None }
    }

    #[test]
    fn a_version_is_looked_for_with_as_many_numbers_as_it_has() {
        let known = [kernel("6.1", "a"), kernel("6.12", "b"), kernel("7.3.4", "c")];
        let found =
            |version: &str| of(&known, version.parse().unwrap()).map(|k| k.image.display().to_string());
        assert_eq!(found("6.1").as_deref(), Some("a"));
        assert_eq!(found("6").as_deref(), Some("a"));
        assert_eq!(found("7.3").as_deref(), Some("c"));
        assert_eq!((found("6.1.5"), found("7.3.5"), found("6.6")), (None, None, None));
    }

    #[test]
    fn kernels_stand_in_order_each_once_and_no_two_have_one_version() {
        let (old, new) = (kernel("6.1", "a"), kernel("6.12.3", "b"));
        let wanted = [&new, &old, &new].map(|kernel| Wanted::Given(kernel.clone()));
        assert_eq!(find(&wanted).unwrap(), [old.clone(), new]);
        let two = [old, kernel("6.1", "other")].map(Wanted::Given);
        assert!(find(&two).unwrap_err().to_string().starts_with("there are two kernels 6.1:"));
    }

    #[test]
    fn modules_are_found_where_packages_have_them() {
        let root = tempfile::tempdir().unwrap();
        for place in ["debian/lib/modules/6.1-x/kernel", "nix/lib/modules/6.1-x/kernel", "own/kernel"] {
            fs::create_dir_all(root.path().join(place)).unwrap();
        }
        let of = |image: &str| {
            let found = beside(&root.path().join(image), "6.1-x")?;
            Some(found.strip_prefix(root.path()).unwrap().display().to_string())
        };
        assert_eq!(of("debian/boot/vmlinuz").as_deref(), Some("debian/lib/modules/6.1-x"));
        assert_eq!(of("nix/bzImage").as_deref(), Some("nix/lib/modules/6.1-x"));
        assert_eq!(of("own/vmlinuz").as_deref(), Some("own"));
        assert_eq!(of("elsewhere/vmlinuz"), None);
    }
}
