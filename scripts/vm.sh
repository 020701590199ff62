#!/usr/bin/env bash
# Runs trials on kernels in virtual machines: scripts/vm.sh [VERSION…] [-- PATH…]
# Without a VERSION every kernel that is to be had; without a PATH the five ways there are to reach and be reached:
# bridge, host, none, published ports, host.docker.internal.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/wanted.sh
. scripts/wanted.sh

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

wanted "${versions[@]}"
[ "${#versions[@]}" -gt 0 ] || exit 0
kernels=()
for version in "${versions[@]}"; do
    kernels+=(--kernel "$version")
done

cargo build --quiet --locked -p seatrial
exec target/debug/vmtests "${paths[@]}" "${kernels[@]}"
