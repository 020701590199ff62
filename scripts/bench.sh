#!/usr/bin/env bash
# Runs the benchmarks, optimised. Arguments go to the benchmarks: a name to filter by, --sample-count 100, …
# `sim` runs the simulator's, and other simulators' beside them, on one core; further arguments go to all of them.
# `vm` times virtual machines, beside other programs that boot the same kernel (scripts/bench-vm.sh).
# `apply` sets networks up on this kernel, beside ip and nft, and beside netavark where it is on the PATH.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1:-}" = vm ]; then
    shift
    exec scripts/bench-vm.sh "$@"
fi
[ "${1:-}" = sim ] || exec cargo bench --workspace --locked --benches -- "$@"
shift

sim=(cargo bench --workspace --locked --bench walk --bench hooks --bench project)
peers=(cargo bench --manifest-path sim/peers/Cargo.toml --locked --target-dir target/peers --bin peers)

# Built on every core, run on the last that this shell may use.
"${sim[@]}" --no-run
"${peers[@]}" --no-run
pinned=()
if command -v taskset >/dev/null; then
    cores=$(taskset -cp $$)
    core=${cores##*[ ,-]}
    pinned=(taskset -c "$core")
    echo "on core $core: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
else
    echo 'on any core: there is no taskset to stay on one'
fi
"${pinned[@]}" "${sim[@]}" -- "$@"
"${pinned[@]}" "${peers[@]}" -- "$@"
