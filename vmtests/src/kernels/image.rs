//! What a kernel's image says of itself.

use std::fs;
use std::io;
use std::path::Path;

use seatrial_core::engine::Version;

/// What a vmlinux says it is (init/version.c: linux_banner).
const BANNER: &[u8] = b"Linux version ";

/// The release of an image: `6.12.118+deb13-cloud-amd64`.
///
/// # Errors
/// A file that cannot be read, or is neither a bzImage nor a vmlinux.
pub(super) fn release(image: &Path) -> io::Result<String> {
    let of = |e: io::Error| io::Error::new(e.kind(), format!("cannot read {}: {e}", image.display()));
    let bytes = fs::read(image).map_err(of)?;
    let text = setup(&bytes).or_else(|| banner(&bytes)).and_then(word);
    text.ok_or_else(|| of(io::Error::other("it is neither a bzImage nor a vmlinux")))
}

/// The text that a bzImage's header points at (Documentation/arch/x86/boot.rst: kernel_version).
fn setup(bytes: &[u8]) -> Option<&[u8]> {
    let header = bytes.get(0x202..0x210)?.strip_prefix(b"HdrS")?;
    let offset = u16::from_le_bytes(*header.last_chunk()?);
    bytes.get(usize::from(offset) + 0x200..)
}

fn banner(bytes: &[u8]) -> Option<&[u8]> {
    let elf = bytes.starts_with(b"\x7fELF");
    let at = elf.then(|| bytes.windows(BANNER.len()).position(|window| window == BANNER))??;
    bytes.get(at + BANNER.len()..)
}

fn word(text: &[u8]) -> Option<String> {
    let word = text.split(|byte| matches!(byte, b' ' | 0)).next()?;
    std::str::from_utf8(word).ok().filter(|word| !word.is_empty()).map(str::to_owned)
}

/// The numbers that a release begins with.
pub(super) fn version(release: &str) -> Option<Version> {
    let end = release.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(release.len());
    release.get(..end)?.trim_end_matches('.').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_images_say_their_release_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let of = |bytes: &[u8]| {
            let path = folder.path().join("image");
            fs::write(&path, bytes).unwrap();
            release(&path).map_err(|e| e.to_string())
        };
        let mut image = vec![0; 0x400];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
        image[0x300..0x310].copy_from_slice(b"6.1.0-56-cloud #");
        assert_eq!(of(&image).unwrap(), "6.1.0-56-cloud");
        assert_eq!(of(b"\x7fELF...Linux version 7.3.4+deb14 (x").unwrap(), "7.3.4+deb14");
        for garbage in [&b""[..], b"Linux version 7.3", b"#!/bin/sh\n", &image[..0x300]] {
            assert!(of(garbage).unwrap_err().contains("neither a bzImage nor a vmlinux"));
        }
        assert!(release(&folder.path().join("none")).unwrap_err().to_string().starts_with("cannot read "));
    }

    #[test]
    fn a_release_begins_with_a_version() {
        let text = |release| version(release).map(|version| version.to_string());
        assert_eq!(text("6.12.118+deb13-cloud-amd64").as_deref(), Some("6.12.118"));
        assert_eq!(text("7.4-rc1").as_deref(), Some("7.4"));
        assert_eq!(text("next"), None);
    }
}
