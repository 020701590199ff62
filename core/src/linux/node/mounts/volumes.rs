//! What the user has mounted: `tmpfs` and `volumes`.

use std::path::PathBuf;

use nix::mount::MsFlags;

use super::root::Root;
use crate::linux::Error;
use crate::linux::node::options::Options;
use crate::linux::process::Birth;

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
            Some(source) => {
                let failed = |e| root.error("mount", source, e);
                What::Bind(std::fs::canonicalize(source).map_err(failed)?, flags)
            }
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
