//! A kernel's modules, in the order in which they are loaded.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use liblzma::read::XzDecoder;
use zstd::stream::read::Decoder;

use super::elf;
use crate::qemu::Extras;

/// What plans and their rules need, and what the guest's port needs. What a kernel has built in, or has not, is not there.
const WANTED: [&str; 71] = [
    "virtio_pci",
    "virtio_console",
    "virtio_rng",
    "crc32c_generic",
    "bridge",
    "veth",
    "dummy",
    "macvlan",
    "ipvlan",
    "8021q",
    "br_netfilter",
    "sch_netem",
    "sch_ingress",
    "act_mirred",
    "cls_bpf",
    "cls_matchall",
    "ifb",
    "sctp",
    "sctp_diag",
    "inet_diag",
    "tcp_diag",
    "udp_diag",
    "raw_diag",
    "af_packet",
    "overlay",
    "nf_conntrack",
    "nf_conntrack_netlink",
    "nf_tables",
    "nft_ct",
    "nft_chain_nat",
    "nft_nat",
    "nft_masq",
    "nft_redir",
    "nft_fib_inet",
    "nft_fib_ipv4",
    "nft_fib_ipv6",
    "nft_reject_inet",
    "nft_reject_ipv4",
    "nft_reject_ipv6",
    "nft_log",
    "nft_limit",
    "nft_compat",
    "nft_counter",
    "nf_log_syslog",
    "nf_log_ipv4",
    "nf_log_ipv6",
    "ip_tables",
    "ip6_tables",
    "xt_addrtype",
    "xt_comment",
    "xt_conntrack",
    "xt_connmark",
    "xt_hl",
    "xt_limit",
    "xt_LOG",
    "xt_mark",
    "xt_MASQUERADE",
    "xt_multiport",
    "xt_nat",
    "xt_physdev",
    "xt_REDIRECT",
    "ip_set_hash_net",
    "xt_set",
    "xt_CT",
    "xt_tcpudp",
    "xt_CHECKSUM",
    "xt_recent",
    "xt_rpfilter",
    "ip6t_rt",
    "ipt_REJECT",
    "ip6t_REJECT",
];

/// What a NIC needs, and what a disk does.
const NIC: &[&str] = &["virtio_net"];
const DISK: &[&str] = &["virtio_blk", "ext4"];
/// What iptables-legacy needs, which only a person calls.
const SHELL: &[&str] = &["iptable_filter", "iptable_nat", "iptable_raw", "ip6table_filter", "ip6table_nat"];

/// A module: its name, its code, decompressed, and what signs it.
pub(super) struct Module {
    pub(super) name: String,
    pub(super) code: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

/// The modules that plans need, each behind those that it depends on.
///
/// # Errors
/// A folder or a file that cannot be read.
pub(super) fn modules(folder: &Path, extras: Extras) -> io::Result<Vec<Module>> {
    let mut paths = BTreeMap::new();
    find(&folder.join("kernel"), &mut paths)?;
    let mut loaded = Loaded { paths, seen: BTreeSet::new(), order: Vec::new() };
    let more =
        [(extras.nic, NIC), (extras.disk, DISK), (extras.shell, SHELL)].into_iter().filter(|(has, _)| *has);
    WANTED
        .iter()
        .chain(more.flat_map(|(_, modules)| modules))
        .try_for_each(|name| loaded.take(&key(name)))?;
    Ok(loaded.order)
}

/// What the file system says of every module: no change of a file leaves it as it is.
///
/// # Errors
/// A folder or a file that cannot be read.
pub(super) fn mark(folder: &Path, field: &mut impl FnMut(&[u8])) -> io::Result<()> {
    let mut paths = BTreeMap::new();
    find(&folder.join("kernel"), &mut paths)?;
    for (name, path) in paths {
        let of = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        let meta = fs::metadata(&path).map_err(of)?;
        field(name.as_bytes());
        for number in [meta.dev(), meta.ino(), meta.size()] {
            field(&number.to_le_bytes());
        }
        for time in [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()] {
            field(&time.to_le_bytes());
        }
    }
    Ok(())
}

struct Loaded {
    paths: BTreeMap<String, PathBuf>,
    seen: BTreeSet<String>,
    order: Vec<Module>,
}

impl Loaded {
    fn take(&mut self, name: &str) -> io::Result<()> {
        let Some(path) = self.paths.get(name).cloned() else { return Ok(()) };
        if !self.seen.insert(name.to_owned()) {
            return Ok(());
        }
        let code = read(&path)?;
        let wrong = |e: object::Error| io::Error::other(format!("{}: {e}", path.display()));
        let info = elf::section(&code, ".modinfo").map_err(wrong)?;
        depends(&info).iter().try_for_each(|other| self.take(other))?;
        let (code, signature) = apart(code);
        self.order.push(Module { name: name.to_owned(), code, signature });
        Ok(())
    }
}

/// A module's code, and the signature behind it (kernel/module_signature.c: the signature, `struct module_signature`,
/// whose last four bytes are the signature's length, and a mark).
fn apart(mut code: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    const MARK: &[u8] = b"~Module signature appended~\n";
    const ABOUT: usize = 12;
    let length = code.strip_suffix(MARK).and_then(|rest| rest.last_chunk()).map(|n| u32::from_be_bytes(*n));
    let end = length.and_then(|n| code.len().checked_sub(MARK.len() + ABOUT + usize::try_from(n).ok()?));
    let signature = end.map(|end| code.split_off(end)).unwrap_or_default();
    (code, signature)
}

/// The names of the modules that one depends on (man 8 modinfo: `depends`).
fn depends(info: &[u8]) -> Vec<String> {
    let fields = info.split(|byte| *byte == 0).filter_map(|field| field.strip_prefix(b"depends="));
    let names = fields.flat_map(|list| list.split(|byte| *byte == b','));
    names.filter(|name| !name.is_empty()).map(|name| key(&String::from_utf8_lossy(name))).collect()
}

/// A module is called so with either.
fn key(name: &str) -> String {
    name.replace('-', "_")
}

/// Every module below a folder, by its name.
fn find(folder: &Path, paths: &mut BTreeMap<String, PathBuf>) -> io::Result<()> {
    let of = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", folder.display()));
    for entry in fs::read_dir(folder).map_err(of)? {
        let path = entry.map_err(of)?.path();
        if path.is_dir() {
            find(&path, paths)?;
        } else if let Some((name, _)) =
            path.file_name().and_then(|n| n.to_str()).and_then(|n| n.split_once(".ko"))
        {
            paths.insert(key(name), path.clone());
        }
    }
    Ok(())
}

/// A module's code, whichever way it is packed.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let of = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
    let packed = fs::read(path).map_err(of)?;
    let mut code = Vec::new();
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => XzDecoder::new(packed.as_slice()).read_to_end(&mut code).map_err(of)?,
        Some("zst") => Decoder::new(packed.as_slice()).map_err(of)?.read_to_end(&mut code).map_err(of)?,
        Some(_) | None => return Ok(packed),
    };
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_stands_behind_the_code() {
        let tail = b"signed\0\0\0\0\0\0\0\0\0\0\0\x06~Module signature appended~\n";
        let whole = [&b"code"[..], tail].concat();
        assert_eq!(apart(whole), (b"code".to_vec(), tail.to_vec()));
        for none in
            [&b"code"[..], b"", b"~Module signature appended~\n", b"short\xff~Module signature appended~\n"]
        {
            assert_eq!(apart(none.to_vec()), (none.to_vec(), Vec::new()));
        }
    }

    #[test]
    fn a_module_names_what_it_depends_on() {
        assert_eq!(depends(b"license=GPL\0depends=nf_nat,x-tables\0name=a\0"), ["nf_nat", "x_tables"]);
        assert_eq!(depends(b"depends=\0name=a\0"), Vec::<String>::new());
    }
}
