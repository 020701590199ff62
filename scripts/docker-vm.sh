#!/usr/bin/env bash
# Runs trials with a real Docker Engine inside virtual machines: scripts/docker-vm.sh [ENGINE [KERNEL…]] [-- PATH…]
# Without an ENGINE 28.5, without a KERNEL 6.1 and 7.3, without a PATH a trial of no network and one of published ports.
# Making the Engine's root and its image needs root. An Engine, a tool or a kernel that cannot be had is said to be skipped;
# what is tried and does not hold fails this.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/wanted.sh
. scripts/wanted.sh

words=()
while [ "$#" -gt 0 ] && [ "$1" != -- ]; do
    words+=("$1")
    shift
done
[ "${1:-}" != -- ] || shift
paths=("$@")
engine=${words[0]:-28.5}
kernels=("${words[@]:1}")
[ "${#kernels[@]}" -gt 0 ] || kernels=(6.1 7.3)
[ "${#paths[@]}" -gt 0 ] || for trial in none/none publish/ports; do
    paths+=("fixtures/trials/$trial.trial.yaml")
done

skipped() { printf 'SKIPPED Engine %s on a kernel of its own: %s\n' "$engine" "$1"; exit 0; }

[ "$(id -u)" -eq 0 ] || skipped 'its root is to be read: run this with sudo'
command -v mkfs.ext4 >/dev/null || skipped 'mkfs.ext4 is missing: install e2fsprogs'
export SEATRIAL_ENGINES=${SEATRIAL_ENGINES:-${XDG_CACHE_HOME:-$HOME/.cache}/seatrial/engines}
said=$(scripts/reference-engines.sh "$engine" 2>&1) || skipped "$(tail -n 1 <<<"$said")"
wanted "${kernels[@]}"
[ "${#versions[@]}" -gt 0 ] || exit 0

# The image is made once, and has its name when it is whole.
image=$SEATRIAL_ENGINES/$engine.ext4
if [ ! -e "$image" ] || [ "$SEATRIAL_ENGINES/$engine" -nt "$image" ]; then
    megabytes=$(du -sm "$SEATRIAL_ENGINES/$engine" | cut -f1)
    rm -f "$image".*
    part=$image.$$
    mkfs.ext4 -q -d "$SEATRIAL_ENGINES/$engine" "$part" "$((megabytes * 5 / 4 + 64))M"
    chmod 0444 "$part"
    mv "$part" "$image"
fi

cargo build --quiet --locked -p seatrial
for kernel in "${versions[@]}"; do
    tar -c fixtures | target/debug/vmtests --shell --kernel "$kernel" --disk "$image:ro" -- sh -c '
        tar -x -C /tmp && cd /tmp || exit
        uname -r
        # dockerd waits ten seconds for containerd, and the first that is emulated takes longer: it is the second then.
        mount -t tmpfs none /disk/tmp
        chroot /disk containerd --root /tmp/root --state /tmp/state --address /tmp/socket >/dev/null 2>&1 & warm=$!
        until [ -S /disk/tmp/socket ] || ! kill -0 "$warm" 2>/dev/null; do sleep 1; done
        kill "$warm" 2>/dev/null; wait "$warm"
        umount /disk/tmp
        exec seatrial check "$@" --lane sim --lane docker --docker-root /disk --jobs 1
    ' sh "${paths[@]}" --engine "$engine"
done
printf 'docker in virtual machines: %s s\n' "$SECONDS"
