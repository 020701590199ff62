#!/usr/bin/env bash
# Runs trials on kernels in virtual machines: scripts/vm.sh [VERSION…] [-- PATH…]
# Without a VERSION every kernel that is to be had; without a PATH the five ways there are to reach and be reached:
# bridge, host, none, published ports, host.docker.internal.
set -euo pipefail
cd "$(dirname "$0")/.."

versions=()
while [ "$#" -gt 0 ] && [ "$1" != -- ]; do
    versions+=("$1")
    shift
done
[ "${1:-}" != -- ] || shift
paths=("$@")
[ "${#paths[@]}" -gt 0 ] || for group in bridge host none publish host-gateway; do
    paths+=("fixtures/trials/$group")
done

scripts/kernels.sh "${versions[@]}"
folder=${SEATRIAL_KERNELS:-${XDG_CACHE_HOME:-$HOME/.cache}/seatrial/kernels}
mapfile -t here < <(sed -n 's/.*"version": "\([^"]*\)".*/\1/p' "$folder/manifest.json")
[ "${#versions[@]}" -gt 0 ] || versions=("${here[@]}")
kernels=()
for version in "${versions[@]}"; do
    if [[ " ${here[*]} " = *" $version "* ]]; then
        kernels+=("$version")
    else
        printf 'SKIPPED kernel %s: it is not to be had\n' "$version"
    fi
done

cargo build --quiet --locked -p seatrial
failed=()
for version in "${kernels[@]}"; do
    began=$SECONDS
    log=$(mktemp)
    if target/debug/seatrial check "${paths[@]}" --lane sim --lane vm --kernel "$version" >"$log"; then
        printf 'kernel %-5s %s, %s s\n' "$version" "$(tail -n 1 "$log")" "$((SECONDS - began))"
    else
        cat "$log"
        failed+=("$version")
    fi
    rm -f "$log"
done
[ "${#failed[@]}" -eq 0 ] || { printf 'vm: failed on %s\n' "${failed[*]}" >&2; exit 1; }
