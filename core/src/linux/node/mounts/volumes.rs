//! What the user has mounted: `tmpfs` and `volumes`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;

use super::root::Root;
use crate::linux::Error;
use crate::linux::node::options::Options;
use crate::linux::process::Birth;
use crate::linux::stage::VOLUMES;

/// One mount.
#[derive(Debug)]
pub(super) struct Volume {
    at: PathBuf,
    what: What,
}

#[derive(Debug)]
enum What {
    /// A tmpfs.
    Memory(Options),
    /// A file or a folder of the machine's.
    Bind(PathBuf, MsFlags),
}

/// All of them, those above others first (moby, daemon/volumes.go sorts them so).
pub(super) fn find(root: &Root<'_>, birth: &Birth) -> Result<Vec<Volume>, Error> {
    let memory = birth.root.tmpfs.iter().map(|text| {
        let (at, options) = text.split_once(':').unwrap_or((text, ""));
        let options = Options::of_tmpfs(options);
        options.map(|options| Volume { at: at.into(), what: What::Memory(options) })
    });
    let mut volumes = memory.collect::<Result<Vec<_>, _>>().map_err(|text| {
        Error::words("mount", format!("tmpfs of {}", root.node), format!("invalid tmpfs option: {text}"))
    })?;
    for mount in &birth.root.mounts {
        let flags = if mount.read_only { MsFlags::MS_RDONLY } else { MsFlags::empty() };
        let what = match &mount.source {
            Some(source) => What::Bind(place(source).map_err(|e| root.error("mount", source, e))?, flags),
            None => What::Memory(Options { flags, data: String::new() }),
        };
        volumes.push(Volume { at: mount.target.clone().into(), what });
    }
    volumes.sort_by_key(|volume| volume.at.components().count());
    Ok(volumes)
}

impl Volume {
    /// Mounts it.
    pub(super) fn mount(&self, root: &Root<'_>) -> Result<(), Error> {
        match &self.what {
            What::Memory(Options { flags, data }) => {
                let at = self.at.to_string_lossy();
                root.folder(&at, 0o755)?;
                root.fresh("tmpfs", &at, *flags, data)
            }
            What::Bind(from, flags) => root.bind(from, &self.at, *flags),
        }
    }
}

/// Where a volume's files are: in a folder or file of the machine's, where there is such a one. Named volumes, and the
/// folders that Docker would make for a path that is missing, are the stage's: the machine stays as it was.
fn place(source: &str) -> io::Result<PathBuf> {
    let is_path = source.starts_with(['/', '.', '~']);
    match fs::canonicalize(source) {
        Ok(found) if is_path => Ok(found),
        Err(e) if is_path && e.kind() != io::ErrorKind::NotFound => Err(e),
        Ok(_) | Err(_) => {
            let folder = Path::new(VOLUMES).join(source.replace('%', "%25").replace('/', "%2F"));
            fs::create_dir_all(&folder)?;
            Ok(folder)
        }
    }
}
