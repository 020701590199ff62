#!/usr/bin/env bash
# Runs every test that needs neither root nor network. Arguments go to `cargo test`.
set -euo pipefail
cd "$(dirname "$0")/.."

# A golden that differs is a failure here, never a new file: scripts/bless.sh writes goldens.
export INSTA_UPDATE=no
exec cargo test --workspace --locked "$@"
