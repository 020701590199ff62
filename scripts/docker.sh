#!/usr/bin/env bash
# Runs trials with real Docker Engines: scripts/docker.sh [VERSION…] [-- PATH…]
# Without a VERSION 20.10, 26.1 and 28.5; without a PATH the five ways there are to reach and be reached: bridge, host,
# none, published ports, host.docker.internal. It needs root. An Engine that cannot be had is reported, and fails nothing.
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
[ "${#paths[@]}" -gt 0 ] || for group in bridge host none publish host-gateway; do
    paths+=("fixtures/trials/$group")
done

if [ "$(id -u)" -ne 0 ]; then
    for version in "${versions[@]}"; do skipped "$version" 'an Engine needs root: run this with sudo'; done
    exit 0
fi

export SEATRIAL_ENGINES=${SEATRIAL_ENGINES:-${XDG_CACHE_HOME:-$HOME/.cache}/seatrial/engines}
engines=()
for version in "${versions[@]}"; do
    if said=$(scripts/reference-engines.sh "$version" 2>&1); then
        engines+=("$version")
    else
        skipped "$version" "$(tail -n 1 <<<"$said")"
    fi
done

cargo build --quiet --locked -p seatrial
failed=()
for version in "${engines[@]}"; do
    began=$SECONDS
    log=$(mktemp -d)
    status=0
    target/debug/seatrial check "${paths[@]}" --lane sim --lane docker --engine "$version" \
        --docker-root "$SEATRIAL_ENGINES/$version" >"$log/out" 2>"$log/err" || status=$?
    if [ "$status" -eq 0 ]; then
        printf 'Engine %-5s %s, %s s\n' "$version" "$(tail -n 1 "$log/out")" "$((SECONDS - began))"
    elif [ "$status" -eq 3 ] && grep -q 'lane docker cannot run here' "$log/err"; then
        skipped "$version" "$(tr '\n' ' ' <"$log/err")"
    else
        cat "$log/out" "$log/err"
        failed+=("$version")
    fi
    rm -r "$log"
done
[ "${#failed[@]}" -eq 0 ] || { printf 'docker: failed with %s\n' "${failed[*]}" >&2; exit 1; }
