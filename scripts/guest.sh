#!/usr/bin/env bash
# What only a machine of one's own can show, with a real kernel: scripts/guest.sh [VERSION]
# A reboot between `up` and `ps`, rules of iptables-legacy beside those of iptables-nft, and what goes wrong with machines.
set -euo pipefail
cd "$(dirname "$0")/.."
version=${1:-6.12}

cargo build --quiet --locked -p seatrial
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cat >"$scratch/compose.yaml" <<'YAML'
services:
  web: { image: nginx, ports: ["8080:80"] }
YAML

# guest WORDS…: a shell script in a guest that has the compose file, and a disk that outlives it.
guest() {
    timeout 300 target/debug/vmtests --shell --kernel "$version" --disk "$scratch/disk" -- \
        sh -euc "export XDG_RUNTIME_DIR=/disk; cd /tmp; cat >compose.yaml; $*" <"$scratch/compose.yaml"
}

# must WHAT WORDS SAID: what was said must have these words.
must() {
    if ! grep -q -- "$2" <<<"$3"; then
        printf '%s\nFAILED: %s: it does not say "%s"\n' "$3" "$1" "$2"
        exit 1
    fi
    printf 'ok: %s\n' "$1"
}

command -v mkfs.ext4 >/dev/null || { echo 'SKIPPED: mkfs.ext4 is missing: install e2fsprogs'; exit 0; }
truncate -s 16M "$scratch/disk"
mkfs.ext4 -q "$scratch/disk"

said=$(guest 'seatrial up compose.yaml --name lab; seatrial ps; ls /disk/seatrial; cat /proc/sys/kernel/random/boot_id')
must 'a lab is up' '^lab  *web .*running' "$said"
must 'what is written of it is on the disk' '^lab$' "$said"
# The machine is ended as by a power cut.
said=$(guest 'ls /disk/seatrial; seatrial ps; ls /disk; seatrial up compose.yaml --name lab; seatrial ps; seatrial down' 2>&1)
must 'after a reboot it is down, and what was left of it goes' \
    '^seatrial: lab lab was no longer alive.*removed what was left of it: log, socket, state.json$' "$said"
must 'it can be brought up again' '^lab  *web .*running' "$said"

said=$(guest '
    seatrial up compose.yaml --name lab
    ask() { seatrial exec lan -- curl -s -m 4 http://203.0.113.10:8080 >/dev/null && echo "$1 yes" || echo "$1 no"; }
    ask before
    seatrial exec host -- iptables-legacy -P FORWARD DROP
    seatrial exec host -- iptables -S FORWARD | head -n 1
    ask dropped
    seatrial exec host -- iptables-legacy -A FORWARD -p tcp --dport 80 -j ACCEPT
    seatrial exec host -- iptables-legacy -A FORWARD -p tcp --sport 80 -j ACCEPT
    ask accepted
' 2>&1)
must 'a published port is reached' '^before yes$' "$said"
must 'rules of nft say nothing of those of legacy' '^-P FORWARD \(ACCEPT\|DROP\)$' "$said"
must 'what legacy drops is dropped, whatever nft accepts' '^dropped no$' "$said"
must 'what both accept passes' '^accepted yes$' "$said"

# lost WHAT STATUS WORDS COMMAND…: it must end so, and say these words.
lost() {
    local what=$1 wanted=$2 words=$3 status=0 said
    shift 3
    said=$("$@" 2>&1) || status=$?
    must "$what" "$words" "$said"
    [ "$status" -eq "$wanted" ] || { printf 'FAILED: %s: status %s, not %s\n' "$what" "$status" "$wanted"; exit 1; }
}
trials=(fixtures/trials/none --accel tcg)

# In 6.1 virtio is modules.
folder=${SEATRIAL_KERNELS:-${XDG_CACHE_HOME:-$HOME/.cache}/seatrial/kernels}
image=$(sed -n 's/.*"version": "6.1",.*"image": "\([^"]*\)".*/\1/p' "$folder/manifest.json")
if [ -n "$image" ]; then
    mkdir -p "$scratch/modules/kernel"
    lost 'a kernel without virtio' 3 'there is no port to the host: virtio_pci and virtio_console are needed' \
        target/debug/vmtests "${trials[@]}" --kernel "$folder/$image:$scratch/modules"
fi
if [ "$(id -u)" -eq 0 ]; then
    lost 'a full disk' 0 'it could not be saved: No space left on device' unshare --mount sh -euc '
        mount -t tmpfs -o size=1m none "$0"; SEATRIAL_MACHINES=$0 exec "$@"' \
        "$scratch/modules" target/debug/vmtests "${trials[@]}" --kernel "$version"
fi
# killed: QEMU is, as soon as it runs.
killed() {
    target/debug/vmtests "${trials[@]}" --kernel "$version" & local runner=$! qemu=
    until qemu=$(cat "/proc/$runner/task/"*/children 2>/dev/null | tr ' ' '\n' | while read -r child; do
        grep -qs virtserialport "/proc/$child/cmdline" && echo "$child"; done | head -n 1); [ -n "$qemu" ]; do
        [ -d "/proc/$runner" ] || break
    done
    kill -KILL "$qemu"
    wait "$runner"
}
SEATRIAL_MACHINES='' lost 'QEMU is killed' 3 'it ended before it said anything' killed
printf 'guest: %s s\n' "$SECONDS"
