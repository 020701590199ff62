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
        kernels+=(--kernel "$version")
    else
        printf 'SKIPPED kernel %s: it is not to be had\n' "$version"
    fi
done
[ "${#kernels[@]}" -gt 0 ] || exit 0

cargo build --quiet --locked -p seatrial
exec target/debug/vmtests "${paths[@]}" "${kernels[@]}"
