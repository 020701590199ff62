#!/usr/bin/env bash
# Runs the benchmarks, optimised. Arguments go to the benchmarks: a name to filter by, --sample-count 100, …
# `apply` sets networks up on this kernel, beside ip and nft, and beside netavark where it is on the PATH.
set -euo pipefail
cd "$(dirname "$0")/.."

exec cargo bench --workspace --locked --benches -- "$@"
