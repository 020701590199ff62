#!/usr/bin/env bash
# Rewrites the goldens with what the program says now. Review the difference before it is committed.
set -euo pipefail
cd "$(dirname "$0")/.."

export INSTA_UPDATE=always INSTA_FORCE_PASS=1
cargo test --workspace --locked --quiet "$@"
git status --short -- '*.snap' README.md
