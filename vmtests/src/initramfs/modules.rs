//! A kernel's modules, in the order in which they are loaded.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use liblzma::read::XzDecoder;
use ruzstd::decoding::StreamingDecoder;

use super::elf;

/// What plans and their rules need, and what the guest's port needs. What a kernel has built in, or has not, is not there.
const WANTED: [&str; 62] = [
    "virtio_pci",
    "virtio_console",
    "virtio_rng",
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
    "xt_addrtype",
    "xt_comment",
    "xt_conntrack",
    "xt_connmark",
    "xt_limit",
    "xt_LOG",
    "xt_mark",
    "xt_MASQUERADE",
    "xt_multiport",
    "xt_nat",
    "xt_physdev",
    "xt_REDIRECT",
    "xt_set",
    "xt_CT",
    "xt_tcpudp",
    "xt_CHECKSUM",
    "xt_recent",
    "xt_rpfilter",
    "ipt_REJECT",
    "ip6t_REJECT",
];

/// A module: its name, and its code, decompressed.
pub(super) struct Module {
    pub(super) name: String,
    pub(super) code: Vec<u8>,
}

/// The modules that plans need, each behind those that it depends on.
///
/// # Errors
/// A folder or a file that cannot be read.
pub(super) fn modules(folder: &Path) -> io::Result<Vec<Module>> {
    let mut paths = BTreeMap::new();
    find(&folder.join("kernel"), &mut paths)?;
    let mut loaded = Loaded { paths, seen: BTreeSet::new(), order: Vec::new() };
    WANTED.iter().try_for_each(|name| loaded.take(&key(name)))?;
    Ok(loaded.order)
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
        self.order.push(Module { name: name.to_owned(), code });
        Ok(())
    }
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
        Some("zst") => {
            let decoder = StreamingDecoder::new(packed.as_slice());
            decoder.map_err(|e| of(io::Error::other(e)))?.read_to_end(&mut code).map_err(of)?
        }
        Some(_) | None => return Ok(packed),
    };
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_names_what_it_depends_on() {
        assert_eq!(depends(b"license=GPL\0depends=nf_nat,x-tables\0name=a\0"), ["nf_nat", "x_tables"]);
        assert_eq!(depends(b"depends=\0name=a\0"), Vec::<String>::new());
    }
}
