#!/usr/bin/env bash
# Installs what building and testing needs, on Debian 12 or newer with a Rust toolchain. Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/.."

rust=1.95

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "'$*' needs root, and there is no sudo: run it as root, then this script again"
    fi
}

# A package is wanted where the program it brings is missing: nothing is asked of apt on a machine that has all.
# An ordinary user's PATH leaves out where administrators' tools are.
PATH=$PATH:/usr/sbin:/sbin
wanted=()
need() { command -v "$1" >/dev/null || wanted+=("$2"); }
need cc gcc
need git git
# What lane kernel and its tests call: rules are written by iptables and nft, `ip` and `unshare` are the tests' own,
# and newuidmap gives an ordinary user more than one id.
need iptables-restore iptables
need nft nftables
need ip iproute2
need unshare util-linux
need newuidmap uidmap
# What the README says to type in a lab.
need curl curl
# What lane vm boots kernels with; scripts/kernels.sh fetches those.
need qemu-system-x86_64 qemu-system-x86
# What reads the captures, in a test.
need tshark tshark
echo 'int main(void){return 0;}' | cc -x c -o /dev/null - 2>/dev/null || wanted+=(libc6-dev)

if [ "${#wanted[@]}" -gt 0 ]; then
    command -v apt-get >/dev/null || die "please install: ${wanted[*]} (there is no apt-get here)"
    say "installing ${wanted[*]}"
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${wanted[@]}"
else
    say "a C linker, git and the tools of lane kernel are here"
fi

command -v cargo >/dev/null || die "cargo is missing: install Rust $rust or newer, with rustup"
have=$(rustc --version | cut -d' ' -f2)
[ "$(printf '%s\n' "$rust" "$have" | sort -V | head -n1)" = "$rust" ] ||
    die "Rust $have is too old: $rust or newer is needed (rustup update)"
say "Rust $have"

say "fetching the crates of Cargo.lock"
cargo fetch --locked --quiet
say "done; now scripts/test.sh"
