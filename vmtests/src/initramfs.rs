//! What a virtual machine starts with: this program as its first process, the tools that write rules, and a kernel's
//! modules, in an archive that the kernel unpacks into memory.

use std::env;
use std::io;
use std::path::{Path, PathBuf};

use crate::qemu::Extras;
use cpio::Archive;
use xxhash_rust::xxh3::Xxh3;

mod cpio;
pub(crate) mod elf;
mod modules;

/// Where the guest finds the kernel's modules, in the order of their names.
pub(crate) const MODULES: &str = "/modules";
/// Where it finds what signs them, by the same names.
pub(crate) const SIGNATURES: &str = "/signatures";
/// The tools that lane kernel calls, and the package each comes with.
const TOOLS: [(&str, &str); 5] = [
    ("iptables-restore", "iptables"),
    ("ip6tables-restore", "iptables"),
    ("iptables-save", "iptables"),
    ("ip6tables-save", "iptables"),
    ("nft", "nftables"),
];
/// The shell, and what is typed there.
pub(crate) const SHELL: &str = "sh";
const TYPED: &[&str] = &[
    "bash",
    "busybox",
    "cat",
    "chmod",
    "chroot",
    "cp",
    "curl",
    "cut",
    "date",
    "dmesg",
    "env",
    "find",
    "grep",
    "head",
    "id",
    "ip",
    "iptables",
    "iptables-legacy",
    "iptables-legacy-restore",
    "iptables-legacy-save",
    "ls",
    "mkdir",
    "mount",
    "ping",
    "ps",
    "rm",
    "sed",
    "sleep",
    "sort",
    "ss",
    "stty",
    "sync",
    "tail",
    "tar",
    "tc",
    "tcpdump",
    "true",
    "umount",
    "uname",
    "unshare",
    "wc",
];
/// Where iptables has its extensions, where they are not in lib/xtables beside the folder it is in, as Nix has them.
const PLUGINS: [&str; 4] =
    ["/usr/lib/x86_64-linux-gnu/xtables", "/usr/lib64/xtables", "/usr/lib/xtables", "/lib/xtables"];
/// What libc reads, as Debian has it: names are looked for in /etc/hosts first, and may have several addresses there; nft
/// takes protocols and services by name.
pub(crate) const ETC: [(&str, &str); 6] = [
    ("passwd", "root:x:0:0:root:/root:/bin/sh\n"),
    ("group", "root:x:0:\n"),
    ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
    ("host.conf", "multi on\n"),
    ("protocols", "icmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\nipv6-icmp 58 IPv6-ICMP\nsctp 132 SCTP\n"),
    ("services", SERVICES),
];

/// The services that plans know by name.
const SERVICES: &str = "\
    ftp 21/tcp\nftp 21/udp\n\
    ssh 22/tcp\nssh 22/udp\n\
    telnet 23/tcp\ntelnet 23/udp\n\
    smtp 25/tcp\nsmtp 25/udp\n\
    domain 53/tcp\ndomain 53/udp\n\
    bootps 67/tcp\nbootps 67/udp\n\
    bootpc 68/tcp\nbootpc 68/udp\n\
    tftp 69/tcp\ntftp 69/udp\n\
    http 80/tcp\nhttp 80/udp\n\
    pop3 110/tcp\npop3 110/udp\n\
    ntp 123/tcp\nntp 123/udp\n\
    netbios-ns 137/tcp\nnetbios-ns 137/udp\n\
    imap2 143/tcp\nimap2 143/udp\n\
    snmp 161/tcp\nsnmp 161/udp\n\
    ldap 389/tcp\nldap 389/udp\n\
    https 443/tcp\nhttps 443/udp\n\
    submission 587/tcp\nsubmission 587/udp\n\
    ldaps 636/tcp\nldaps 636/udp\n\
    imaps 993/tcp\nimaps 993/udp\n\
    pop3s 995/tcp\npop3s 995/udp\n\
    mysql 3306/tcp\nmysql 3306/udp\n\
    postgresql 5432/tcp\npostgresql 5432/udp\n\
    mdns 5353/tcp\nmdns 5353/udp\n";

/// What an initramfs is made of.
#[derive(Debug)]
pub(crate) struct Content {
    init: Vec<u8>,
    files: elf::Files,
    /// The names that tools are called by, where they are other ones than their files have.
    links: Vec<(PathBuf, PathBuf)>,
    modules: Option<PathBuf>,
}

impl Content {
    /// Reads a program, the tools, and what they need.
    ///
    /// # Errors
    /// A program, library or tool that cannot be read, with what to install.
    pub(crate) fn gather(program: &Path, modules: Option<&Path>) -> io::Result<Self> {
        let (mut files, mut links) = (elf::Files::new(), Vec::new());
        let program = program.canonicalize()?;
        elf::take(&mut files, &program)?;
        let init = files.remove(&program).unwrap_or_default();
        for (tool, package) in TOOLS {
            let path = find(tool)
                .ok_or_else(|| io::Error::other(format!("{tool} is not on the PATH: install {package}")))?;
            let real = path.canonicalize()?;
            elf::take(&mut files, &real)?;
            let place = Path::new("/usr/sbin").join(tool);
            links.extend((place != real).then_some((place, real)));
        }
        for plugin in plugins(&files)? {
            elf::take(&mut files, &plugin)?;
        }
        Ok(Self { init, files, links, modules: modules.map(Path::to_owned) })
    }

    /// Takes in a shell, what is typed there as far as this machine has it, and this program as `seatrial`.
    ///
    /// # Errors
    /// Where there is no shell, and a tool that cannot be read or lacks a library.
    pub(crate) fn take_shell(&mut self) -> io::Result<()> {
        let shell = find(SHELL).ok_or_else(|| io::Error::other(format!("{SHELL} is not on the PATH")))?;
        let typed = TYPED.iter().filter_map(|tool| Some((*tool, find(tool)?)));
        for (tool, path) in typed.chain([(SHELL, shell)]) {
            let real = path.canonicalize()?;
            // A script needs what nobody knows.
            if tool == SHELL || elf::is(&real)? {
                elf::take(&mut self.files, &real)?;
                let place = Path::new("/usr/bin").join(tool);
                self.links.extend((place != real).then_some((place, real)));
            }
        }
        self.links.push(("/bin/sh".into(), Path::new("/usr/bin").join(SHELL)));
        self.links.push(("/usr/bin/seatrial".into(), "/init".into()));
        Ok(())
    }

    /// Takes in all that makes one initramfs another: bytes, and of modules, which take long to unpack, what the file
    /// system says of them, which no change of a file leaves as it is.
    ///
    /// # Errors
    /// A folder of modules that cannot be read.
    pub(crate) fn mark(&self, digest: &mut Xxh3) -> io::Result<()> {
        let mut field = |bytes: &[u8]| {
            digest.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
            digest.update(bytes);
        };
        field(&self.init);
        for (path, bytes) in &self.files {
            field(path.as_os_str().as_encoded_bytes());
            field(bytes);
        }
        for (place, real) in &self.links {
            field(place.as_os_str().as_encoded_bytes());
            field(real.as_os_str().as_encoded_bytes());
        }
        for (name, text) in ETC {
            field(name.as_bytes());
            field(text.as_bytes());
        }
        self.modules.as_ref().map_or(Ok(()), |folder| modules::mark(folder, &mut field))
    }

    /// Packs it, with the modules of its extras.
    ///
    /// # Errors
    /// A module that cannot be read.
    pub(crate) fn pack(&self, extras: Extras) -> io::Result<Vec<u8>> {
        let mut archive = Archive::default();
        archive.file(Path::new("/init"), &self.init);
        self.links.iter().for_each(|(place, real)| archive.link(place, real));
        self.files.iter().for_each(|(path, bytes)| archive.file(path, bytes));
        let modules = self
            .modules
            .as_ref()
            .map_or_else(|| Ok(Vec::new()), |folder| modules::modules(folder, extras))?;
        archive.folder(Path::new(MODULES));
        for (number, module) in modules.into_iter().enumerate() {
            let place = Path::new(MODULES).join(format!("{number:03}-{}.ko", module.name));
            archive.file(&place, &module.code);
            let signature = Path::new(SIGNATURES).join(place.file_name().unwrap_or_default());
            archive.file(&signature, &module.signature);
        }
        for (name, text) in ETC {
            archive.file(&Path::new("/etc").join(name), text.as_bytes());
        }
        ["/proc", "/sys", "/dev", "/run", "/tmp", "/root", "/sysroot", "/disk"]
            .into_iter()
            .for_each(|folder| archive.folder(Path::new(folder)));
        Ok(archive.finish())
    }
}

fn find(tool: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(sbin).map(|folder| folder.join(tool)).find(|path| path.is_file())
}

/// The extensions of iptables, which is one of the files.
fn plugins(files: &elf::Files) -> io::Result<Vec<PathBuf>> {
    let beside = files.keys().filter_map(|file| Some(file.parent()?.parent()?.join("lib/xtables")));
    let mut places = beside.chain(PLUGINS.map(PathBuf::from));
    let Some(folder) = places.find(|folder| folder.is_dir()) else {
        return Ok(Vec::new());
    };
    let mut plugins = Vec::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        // A few names are links to one file, by which iptables knows it.
        plugins.extend(path.extension().is_some_and(|e| e == "so").then_some(path));
    }
    plugins.sort();
    Ok(plugins)
}
