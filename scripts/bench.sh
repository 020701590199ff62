#!/usr/bin/env bash
# Runs the benchmarks, optimised. Arguments go to the benchmarks: a name to filter by, --sample-count 100, …
set -euo pipefail
cd "$(dirname "$0")/.."

exec cargo bench --workspace --locked --benches -- "$@"
