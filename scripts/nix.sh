#!/usr/bin/env bash
# Runs flake.nix where nixpkgs cannot be fetched, with scripts/nix-offline in its place:
#   scripts/nix.sh [ARGUMENTS OF vmtests…]     nix run .#vmtests -- …
#   scripts/nix.sh --check KERNEL-GROUP…       nix build .#checks.x86_64-linux.KERNEL-GROUP…, as in linux_6_12-bridge
# What it takes: Debian's nix-bin, and the kernels of scripts/kernels.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v nix >/dev/null || { echo 'nix: install nix-bin (apt-get install nix-bin)' >&2; exit 3; }
[ "$(id -u)" -eq 0 ] || [ -w /nix/store ] || { echo 'nix: /nix/store is not ours to write to: run this as root' >&2; exit 3; }

# The stand-in builds with this machine's tools, unhidden, as the user who asks. Under a sandbox nothing of it would be there.
NIX_CONFIG='experimental-features = nix-command flakes
build-users-group =
sandbox = false
substituters =
warn-dirty = false'
export NIX_CONFIG

# What the stand-in has to know of this machine, and nix does not tell it.
folder=$(getent passwd "$(id -u)" | cut -d: -f6)/.cache/seatrial/nix
mkdir -p "$folder"
{
    printf 'tree=%q callers=%q\n' "$PWD" "$PATH"
    printf 'kernels=%q\n' "${SEATRIAL_KERNELS:-${XDG_CACHE_HOME:-$HOME/.cache}/seatrial/kernels}"
    for name in CARGO_HOME RUSTUP_HOME; do
        [ -z "${!name:-}" ] || printf 'export %s=%q\n' "$name" "${!name}"
    done
} >"$folder/caller"
# The stand-in has the kernels that are here, and no other.
manifest=${SEATRIAL_KERNELS:-${XDG_CACHE_HOME:-$HOME/.cache}/seatrial/kernels}/manifest.json
[ -r "$manifest" ] || { echo "nix: cannot read $manifest: run scripts/kernels.sh" >&2; exit 3; }
rm -rf "$folder/nixpkgs"
cp -r scripts/nix-offline "$folder/nixpkgs"
{
    echo '{'
    sed -n 's/.*"version": \("[^"]*"\).*"sha256": \("[^"]*"\).*/\1 = \2;/p' "$manifest"
    echo '}'
} >"$folder/nixpkgs/kernels.nix"
offline=(--offline --no-write-lock-file --override-input nixpkgs "path:$folder/nixpkgs")

if [ "${1:-}" = --check ]; then
    shift
    exec nix build "${offline[@]}" --no-link --print-build-logs "${@/#/.#checks.x86_64-linux.}"
fi
exec nix run "${offline[@]}" .#vmtests -- "$@"
