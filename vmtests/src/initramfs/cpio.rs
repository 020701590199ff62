//! The archive that a kernel unpacks before it starts its first process (Documentation/driver-api/early-userspace/
//! buffer-format.rst: "newc").

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_755;
const LINK: u32 = 0o120_777;

/// An archive that grows. Folders are made on the way; what is put in twice is there once.
#[derive(Debug, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    known: BTreeSet<PathBuf>,
}

impl Archive {
    /// A file that anybody may run.
    pub(super) fn file(&mut self, path: &Path, content: &[u8]) {
        self.entry(path, FILE, content);
    }

    /// A symbolic link.
    pub(super) fn link(&mut self, path: &Path, to: &Path) {
        self.entry(path, LINK, to.as_os_str().as_encoded_bytes());
    }

    /// An empty folder.
    pub(super) fn folder(&mut self, path: &Path) {
        self.entry(path, FOLDER, &[]);
    }

    /// The archive, ended.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.write("TRAILER!!!".as_bytes(), 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &Path, mode: u32, content: &[u8]) {
        let path = relative(path);
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(parent) = parent.filter(|parent| !self.known.contains(*parent)) {
            self.entry(parent, FOLDER, &[]);
        }
        if self.known.insert(path.clone()) {
            self.write(path.as_os_str().as_encoded_bytes(), mode, content);
        }
    }

    fn write(&mut self, name: &[u8], mode: u32, content: &[u8]) {
        // Lengths are numbers of 32 bits: nothing here comes near that.
        let (number, size, named) = (self.known.len(), content.len(), name.len() + 1);
        let links = 1;
        let header = format!(
            "070701{number:08x}{mode:08x}{0:08x}{0:08x}{links:08x}{0:08x}{size:08x}{0:08x}{0:08x}{0:08x}{0:08x}{named:08x}{0:08x}",
            0
        );
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(name);
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

fn relative(path: &Path) -> PathBuf {
    path.strip_prefix("/").unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_before_what_is_in_them_and_everything_once() {
        let mut archive = Archive::default();
        archive.file(Path::new("/usr/bin/a"), b"abc");
        archive.file(Path::new("/usr/bin/a"), b"other");
        archive.link(Path::new("/usr/bin/b"), Path::new("a"));
        let bytes = archive.finish();
        let text = String::from_utf8_lossy(&bytes);
        let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what} is not in {text}"));
        assert!(at("usr\0") < at("usr/bin\0") && at("usr/bin\0") < at("usr/bin/a\0"));
        assert!(at("abc") < at("usr/bin/b\0") && !text.contains("other"));
        assert_eq!((bytes.len() % 4, text.matches("070701").count()), (0, 5));
    }
}
