//! What a program needs to run somewhere else: its interpreter and its shared libraries (man 8 ld.so).

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use object::elf::{DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_STRSZ, DT_STRTAB, FileHeader64};
use object::read::StringTable;
use object::read::elf::{Dyn as _, ElfFile64, FileHeader as _, ProgramHeader as _};
use object::{Endianness, Object as _, ObjectSection as _};

/// Where libraries are looked for that no program says itself.
const FOLDERS: [&str; 6] =
    ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"];

/// What an ELF file begins with (man 5 elf).
const MAGIC: [u8; 4] = *b"\x7fELF";

/// Whether a file is a program or a library, and no script.
///
/// # Errors
/// A file that cannot be read.
pub(crate) fn is(path: &Path) -> io::Result<bool> {
    let mut head = Vec::new();
    let opened = fs::File::open(path).and_then(|file| file.take(4).read_to_end(&mut head));
    opened.map_err(|e| of(path, &e))?;
    Ok(head == MAGIC)
}

fn of(path: &Path, e: &io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("{}: {e}", path.display()))
}

/// What one file asks for.
#[derive(Debug, Default)]
struct Asks {
    interpreter: Option<PathBuf>,
    needed: Vec<String>,
    folders: Vec<PathBuf>,
}

/// Files, by the path that a program looks for them at: the bytes that are loaded, without what only debuggers read.
pub(crate) type Files = BTreeMap<PathBuf, Vec<u8>>;

/// Takes in a program or a library, and all that it needs.
///
/// # Errors
/// A file that cannot be read, is no ELF file of 64 bits, or needs a library that is nowhere.
pub(crate) fn take(files: &mut Files, path: &Path) -> io::Result<()> {
    if files.contains_key(path) {
        return Ok(());
    }
    let bytes = fs::read(path).map_err(|e| of(path, &e))?;
    let wrong = |e: object::Error| io::Error::other(format!("{}: {e}", path.display()));
    let Asks { interpreter, needed, folders } = asks(path, &bytes).map_err(wrong)?;
    files.insert(path.to_owned(), loaded(bytes).map_err(wrong)?);
    interpreter.map_or(Ok(()), |path| take(files, &path))?;
    for name in needed {
        let own = folders.iter().map(PathBuf::as_path);
        let mut places = own.chain(FOLDERS.map(Path::new)).map(|folder| folder.join(&name));
        let found = places.find(|place| place.is_file());
        let nowhere = || io::Error::other(format!("{} needs {name}, which is nowhere", path.display()));
        take(files, &found.ok_or_else(nowhere)?)?;
    }
    Ok(())
}

fn asks(path: &Path, bytes: &[u8]) -> object::Result<Asks> {
    let file = ElfFile64::<Endianness>::parse(bytes)?;
    let endian = file.endian();
    let mut asks = Asks::default();
    for header in file.elf_program_headers() {
        if let Some(interpreter) = header.interpreter(endian, bytes)? {
            asks.interpreter = Some(String::from_utf8_lossy(interpreter).into_owned().into());
        }
    }
    // By its segments, as the loader does: a file that was taken in once has no sections any more.
    let segments = file.elf_program_headers();
    let dynamic = segments.iter().find_map(|segment| segment.dynamic(endian, bytes).transpose());
    let Some(entries) = dynamic.transpose()? else { return Ok(asks) };
    let value = |tag| entries.iter().find(|entry| entry.tag(endian) == tag).map_or(0, |e| e.val(endian));
    let (at, size) = (value(DT_STRTAB), value(DT_STRSZ));
    let text = segments.iter().find_map(|segment| segment.data_range(endian, bytes, at, size).ok()?);
    let text = text.unwrap_or_default();
    let strings = StringTable::new(text, 0, text.len() as u64);
    let origin = path.parent().unwrap_or(Path::new("/")).display().to_string();
    for entry in entries {
        let text = || entry.string(endian, strings).map(|s| String::from_utf8_lossy(s).into_owned());
        match entry.tag(endian) {
            DT_NEEDED => asks.needed.push(text()?),
            DT_RUNPATH | DT_RPATH => {
                let text = text()?.replace("$ORIGIN", &origin);
                asks.folders.extend(text.split(':').map(PathBuf::from));
            }
            _ => {}
        }
    }
    Ok(asks)
}

/// The file up to the end of what is loaded, and no word of what came behind it.
fn loaded(mut bytes: Vec<u8>) -> object::Result<Vec<u8>> {
    let header = FileHeader64::<Endianness>::parse(bytes.as_slice())?;
    let endian = header.endian()?;
    let segments = header.program_headers(endian, bytes.as_slice())?;
    let ends = segments.iter().map(|s| s.p_offset(endian).saturating_add(s.p_filesz(endian)));
    let end = usize::try_from(ends.max().unwrap_or(0)).unwrap_or(usize::MAX);
    if end < bytes.len() {
        bytes.truncate(end);
        // e_shoff, and e_shnum and e_shstrndx (man 5 elf): there are no sections any more.
        for range in [40..48, 60..64] {
            bytes.get_mut(range).into_iter().for_each(|field| field.fill(0));
        }
    }
    Ok(bytes)
}

/// A section of an object file, as text without its zeros: a kernel module's `.modinfo`.
pub(crate) fn section(bytes: &[u8], name: &str) -> object::Result<Vec<u8>> {
    let file = ElfFile64::<Endianness>::parse(bytes)?;
    file.section_by_name(name).map_or(Ok(Vec::new()), |section| section.data().map(<[u8]>::to_vec))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_needs_is_known_of_one_that_was_taken_in_before() {
        let program = std::env::current_exe().unwrap();
        let mut files = Files::new();
        take(&mut files, &program).unwrap();
        let bare = tempfile::NamedTempFile::new().unwrap();
        fs::write(bare.path(), files.remove(&program).unwrap()).unwrap();
        let mut again = Files::new();
        take(&mut again, bare.path()).unwrap();
        again.remove(bare.path()).unwrap();
        assert!(files.len() > 1, "libc and the loader");
        assert_eq!(again.keys().collect::<Vec<_>>(), files.keys().collect::<Vec<_>>());
    }
}
