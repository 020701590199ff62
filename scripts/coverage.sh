#!/usr/bin/env bash
# Which lines of sim and of core's pure part the tests run: scripts/coverage.sh [--lines]
# Prints a table of files; with --lines the lines that nothing runs. It needs llvm-cov and llvm-profdata of rustc's own LLVM.
set -euo pipefail
cd "$(dirname "$0")/.."

die() { printf 'coverage: %s\n' "$*" >&2; exit 3; }

major=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
beside=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin
tool() {
    local name
    for name in "$beside/$1" "$1-$major"; do
        command -v "$name" && return
    done
    die "$1 of LLVM $major is missing: rustup component add llvm-tools, or apt-get install llvm-$major"
}
profdata=$(tool llvm-profdata) && cov=$(tool llvm-cov)

# Its own folder: what is built so runs slower.
export CARGO_TARGET_DIR=$PWD/target/coverage RUSTFLAGS='-C instrument-coverage' INSTA_UPDATE=no
raw=$CARGO_TARGET_DIR/raw
rm -rf "$raw"
mkdir -p "$raw"
export LLVM_PROFILE_FILE=$raw/%p-%m.profraw

# The tests that run no kernel and start nothing: what a kernel answers is no part of what is measured.
tests=(--lib)
for file in core/tests/*.rs sim/tests/*.rs vmtests/tests/*.rs; do
    tests+=(--test "$(basename "$file" .rs)")
done
mapfile -t binaries < <(cargo test --workspace --locked "${tests[@]}" --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')
cargo test --workspace --locked "${tests[@]}" --quiet >"$CARGO_TARGET_DIR/tests.log" 2>&1 ||
    { tail -n 40 "$CARGO_TARGET_DIR/tests.log" >&2; die "a test failed"; }

"$profdata" merge --sparse "$raw"/*.profraw -o "$CARGO_TARGET_DIR/all.profdata"
objects=()
for binary in "${binaries[@]}"; do
    objects+=(--object "$binary")
done
# What is left out: the imperative shell, the other crates, dependencies, and tests themselves.
options=(--instr-profile "$CARGO_TARGET_DIR/all.profdata" "${objects[@]}"
    --ignore-filename-regex '/\.cargo/|/rustc/|/target/|core/src/linux|/(vmtests|cli)/|/tests(\.rs|/)|sim/src/(properties|testbed)')
if [ "${1:-}" = --lines ]; then
    "$cov" show "${options[@]}" --show-line-counts-or-regions=0 | grep -E '^ *[0-9]+\| *0\||^/'
else
    "$cov" report "${options[@]}" --show-region-summary=false --show-branch-summary=false
fi
