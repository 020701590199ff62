//! What a kernel's image says of itself, and the kernel in it.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use liblzma::read::XzDecoder;
use object::Endianness;
use object::elf::FileHeader64;
use object::read::elf::{FileHeader as _, ProgramHeader as _};
use seatrial_core::engine::Version;
use zstd::stream::read::Decoder;

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

/// The vmlinux in a bzImage, where it can be started as it is: an emulated processor takes a second to unpack it. None
/// where it is packed in a way that is not known here, or has no entry for that (PVH, CONFIG_PVH).
///
/// # Errors
/// A file that ends too early, or cannot be unpacked: of such a kernel nobody would hear a word.
pub(crate) fn vmlinux(bytes: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let short = || io::Error::other("it ends too early: fetch it again");
    if bytes.starts_with(b"\x7fELF") {
        return if is_whole(bytes) { Ok(None) } else { Err(short()) };
    }
    let number = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    // Documentation/arch/x86/boot.rst: setup_sects, payload_offset and payload_length, of protocol 2.08 on.
    let header = bytes.get(0x202..).and_then(|header| header.strip_prefix(b"HdrS"));
    if header.is_none() || number(0x206).is_none_or(|version| version & 0xffff < 0x208) {
        return Ok(None);
    }
    let sectors = bytes.get(0x1f1).copied().map_or(4, |n| if n == 0 { 4 } else { usize::from(n) });
    let payload = || {
        let start = (sectors + 1) * 512 + usize::try_from(number(0x248)?).ok()?;
        bytes.get(start..)?.get(..usize::try_from(number(0x24c)?).ok()?)
    };
    let vmlinux = unpacked(payload().ok_or_else(short)?)?;
    Ok(vmlinux.filter(|vmlinux| starts_as_it_is(vmlinux)))
}

/// What is packed, where it is known how.
fn unpacked(payload: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut vmlinux = Vec::new();
    match payload {
        [0xfd, b'7', b'z', b'X', b'Z', ..] => drop(XzDecoder::new(payload).read_to_end(&mut vmlinux)?),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            // The length of all stands behind the frame.
            Decoder::new(payload)?.single_frame().read_to_end(&mut vmlinux)?;
        }
        [0x02, 0x21, 0x4c, 0x18, blocks @ ..] => {
            vmlinux = lz4(blocks).ok_or_else(|| io::Error::other("what is packed in it is damaged"))?;
        }
        _ => return Ok(None),
    }
    Ok(Some(vmlinux))
}

/// Whether an ELF file has all that is to be loaded.
fn is_whole(vmlinux: &[u8]) -> bool {
    let ends = || {
        let header = FileHeader64::<Endianness>::parse(vmlinux).ok()?;
        let endian = header.endian().ok()?;
        let segments = header.program_headers(endian, vmlinux).ok()?;
        segments.iter().map(|s| s.p_offset(endian).checked_add(s.p_filesz(endian))).max()?
    };
    ends().is_some_and(|end| u64::try_from(vmlinux.len()).is_ok_and(|length| end <= length))
}

/// Blocks of LZ4's legacy frame, which is what kernels are packed in (lib/decompress_unlz4.c): each its length, and up to
/// 8 MiB unpacked. What comes behind the last is the length of all.
fn lz4(mut blocks: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    while let Some((size, rest)) = blocks.split_first_chunk() {
        let Some(block) = rest.get(..usize::try_from(u32::from_le_bytes(*size)).ok()?) else { break };
        out.extend(lz4_flex::block::decompress(block, 8 << 20).ok()?);
        blocks = rest.get(block.len()..)?;
    }
    Some(out)
}

/// Whether an ELF image says where to be entered without what a bzImage brings (Documentation/arch/x86/pvh.rst: a note of
/// Xen, XEN_ELFNOTE_PHYS32_ENTRY).
fn starts_as_it_is(vmlinux: &[u8]) -> bool {
    const NOTE: &[u8] = b"\x12\0\0\0Xen\0";
    vmlinux.starts_with(b"\x7fELF") && vmlinux.windows(NOTE.len()).any(|window| window == NOTE)
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

    /// A bzImage with this behind its header (two sectors), as `scripts/Makefile.lib` packs it.
    fn packed(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 0x400];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x206..0x208].copy_from_slice(&0x20f_u16.to_le_bytes());
        image[0x24c..0x250].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
        image.extend_from_slice(payload);
        image
    }

    #[test]
    fn the_kernel_in_an_image_is_taken_out_where_it_starts_as_it_is() {
        let kernel = b"\x7fELF and a note \x04\0\0\0\x08\0\0\0\x12\0\0\0Xen\0 in it";
        let mut lz4 = vec![0x02, 0x21, 0x4c, 0x18];
        // One sequence of literals (lz4_Block_format.md): a token, the rest of the length, the bytes.
        let block = [&[0xf0, u8::try_from(kernel.len() - 15).unwrap()][..], kernel].concat();
        lz4.extend_from_slice(&u32::try_from(block.len()).unwrap().to_le_bytes());
        lz4.extend_from_slice(&block);
        lz4.extend_from_slice(&u32::try_from(kernel.len()).unwrap().to_le_bytes());
        let of = |bytes: &[u8]| vmlinux(bytes).map_err(|e| e.to_string());
        assert_eq!(of(&packed(&lz4)).unwrap().as_deref(), Some(&kernel[..]));
        for other in [&b"\x1f\x8b gzip"[..], b"", b"\x02\x21\x4c\x18\x05\0\0\0\x40note"] {
            assert_eq!(of(&packed(other)).unwrap(), None);
        }
        assert_eq!(of(b"").unwrap(), None);
    }

    #[test]
    fn an_image_that_is_torn_or_damaged_is_refused() {
        let of = |bytes: &[u8]| vmlinux(bytes).unwrap_err().to_string();
        let whole = packed(b"\x02\x21\x4c\x18 and more");
        for length in [0x400, 0x402, whole.len() - 1] {
            assert_eq!(of(&whole[..length]), "it ends too early: fetch it again");
        }
        assert_eq!(of(b"\x7fELF and no more"), "it ends too early: fetch it again");
        // A block of 5 bytes that is to be 9 long.
        assert_eq!(of(&packed(b"\x02\x21\x4c\x18\x05\0\0\0\x90note")), "what is packed in it is damaged");
        assert!(vmlinux(&packed(b"\xfd7zXZ\0 and no more")).is_err());
        assert!(vmlinux(&packed(b"\x28\xb5\x2f\xfd")).is_err());
    }

    #[test]
    fn a_release_begins_with_a_version() {
        let text = |release| version(release).map(|version| version.to_string());
        assert_eq!(text("6.12.118+deb13-cloud-amd64").as_deref(), Some("6.12.118"));
        assert_eq!(text("7.4-rc1").as_deref(), Some("7.4"));
        assert_eq!(text("next"), None);
    }
}
