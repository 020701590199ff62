#!/usr/bin/env bash
# Runs trials with real Docker Engines, side by side: scripts/docker.sh [VERSION…] [-- PATH…]
# Without a VERSION 20.10, 26.1 and 28.5. Without a PATH all trials, some 8 minutes of two cores. It needs root. An Engine that
# cannot be had is reported, and fails nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

skipped() { printf 'SKIPPED Engine %s: %s\n' "$1" "$2"; }

versions=()
while [ "$#" -gt 0 ] && [ "$1" != -- ]; do
    versions+=("$1")
    shift
done
[ "${1:-}" != -- ] || shift
paths=("$@")
[ "${#versions[@]}" -gt 0 ] || versions=(20.10 26.1 28.5)
[ "${#paths[@]}" -gt 0 ] || paths=(fixtures/trials)

if [ "$(id -u)" -ne 0 ]; then
    for version in "${versions[@]}"; do skipped "$version" 'an Engine needs root: run this with sudo'; done
    exit 0
fi

export SEATRIAL_ENGINES=${SEATRIAL_ENGINES:-${XDG_CACHE_HOME:-$HOME/.cache}/seatrial/engines}
engines=()
for version in "${versions[@]}"; do
    if said=$(scripts/reference-engines.sh "$version" 2>&1); then
        engines+=(--engine "$version" --docker-root "$SEATRIAL_ENGINES/$version")
    else
        skipped "$version" "$(tail -n 1 <<<"$said")"
    fi
done
[ "${#engines[@]}" -gt 0 ] || exit 0

cargo build --quiet --locked -p seatrial
log=$(mktemp -d)
status=0
# Engines wait more than they work: for what does not come, and for each other's start.
target/debug/seatrial check "${paths[@]}" --lane sim --lane docker "${engines[@]}" --jobs 12 >"$log/out" 2>"$log/err" || status=$?
if [ "$status" -eq 0 ]; then
    sed -n '/^Docker Engine /,$p' "$log/out"
    printf 'docker: %s s\n' "$SECONDS"
elif [ "$status" -eq 3 ] && grep -q 'lane docker cannot run here' "$log/err"; then
    status=0
    for version in "${versions[@]}"; do skipped "$version" "$(tr '\n' ' ' <"$log/err")"; done
else
    cat "$log/out" "$log/err"
    echo 'docker: failed' >&2
fi
rm -r "$log"
exit "$status"
