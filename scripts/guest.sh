#!/usr/bin/env bash
# What only a machine of one's own can show, with a real kernel: scripts/guest.sh [VERSION]
# Programs in a guest with its output, status and disk, a reboot between `up` and `ps`, rules of iptables-legacy beside those
# of iptables-nft, netem, which not every kernel has, and what goes wrong with machines.
# What cannot be tried here is said to be skipped, by name.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/wanted.sh
. scripts/wanted.sh

skipped() { printf 'SKIPPED %s: %s\n' "$1" "$2"; }

command -v mkfs.ext4 >/dev/null || { skipped 'what a guest shows' 'mkfs.ext4 is missing: install e2fsprogs'; exit 0; }
# In 6.1 virtio is modules.
wanted "${1:-6.12}" 6.1
version=${1:-6.12}
[[ " ${versions[*]} " = *" $version "* ]] || exit 0

cargo build --quiet --locked -p seatrial
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cat >"$scratch/compose.yaml" <<'YAML'
services:
  web: { image: nginx, ports: ["8080:80"] }
YAML
disk() { truncate -s "$2" "$1" && mkfs.ext4 -q "${@:3}" "$1"; }
disk "$scratch/disk" 16M

# on DISK CMD…: a program in a guest, with this disk.
on() {
    timeout 300 target/debug/vmtests --shell --kernel "$version" --disk "$1" -- "${@:2}"
}

# fails WHAT SAID WHY: ends this.
fails() {
    printf '%s\nFAILED: %s: %s\n' "$2" "$1" "$3"
    exit 1
}

# must WHAT WORDS SAID: what was said must have these words.
must() {
    grep -q -- "$2" <<<"$3" || fails "$1" "$3" "it does not say \"$2\""
    printf 'ok: %s\n' "$1"
}

# ends WHAT STATUS WORDS COMMAND…: it must end so, and say these words; all that it said is in `said` then.
ends() {
    local what=$1 wanted=$2 words=$3 status=0
    shift 3
    said=$("$@" 2>&1) || status=$?
    [ "$status" -eq "$wanted" ] || fails "$what" "$said" "status $status, not $wanted"
    must "$what" "$words" "$said"
}

# guest WHAT WORDS SCRIPT: a shell script in a guest that has the compose file, and a disk that outlives it.
guest() {
    ends "$1" 0 "$2" on "$scratch/disk" sh -euc "export XDG_RUNTIME_DIR=/disk; cd /tmp; cat >compose.yaml; $3" \
        <"$scratch/compose.yaml"
}

ends 'a program has its own status' 7 '^here$' on "$scratch/disk" sh -c 'echo here; exit 7' </dev/null
ends 'what is no program is named' 2 'cannot run nonesuch: No such file' on "$scratch/disk" nonesuch </dev/null
truncate -s 1M "$scratch/blank"
ends 'what is no disk is named' 2 'cannot mount the disk: EINVAL' on "$scratch/blank" true </dev/null
ends 'a disk may be written to' 0 '^written$' on "$scratch/disk" sh -euc 'echo >/disk/a; echo written' </dev/null
ends 'and not where it says so' 0 'Read-only file system' on "$scratch/disk:ro" sh -c 'echo >/disk/b; ls /disk' </dev/null
must 'what was written is read' '^a$' "$said"
if command -v script >/dev/null; then
    # shellcheck disable=SC2317 # it is called by name
    typed() {
        printf 'stty size; exit 3\r' | timeout 300 script -qec "stty rows 33 cols 99
            target/debug/vmtests --shell --kernel $version --disk $scratch/disk" /dev/null
    }
    ends 'a shell has a terminal, as large as the one here' 3 '33 99' typed
else
    skipped 'a terminal' 'script is missing: install bsdutils'
fi

guest 'a lab is up' '^lab  *web .*running' 'seatrial up compose.yaml --name lab; seatrial ps; ls /disk/seatrial'
must 'what is written of it is on the disk' '^lab$' "$said"
ends 'a disk that was in use is to be written to once' 2 'cannot mount the disk: EROFS' on "$scratch/disk:ro" true </dev/null
# The machine is ended as by a power cut.
guest 'after a reboot it is down, and what was left of it goes' \
    '^seatrial: lab lab was no longer alive.*removed what was left of it: log, socket, state.json$' \
    'seatrial ps; ls /disk; seatrial up compose.yaml --name lab; seatrial ps; seatrial down'
must 'it can be brought up again' '^lab  *web .*running' "$said"

guest 'a published port is reached' '^before yes$' '
    seatrial up compose.yaml --name lab
    ask() { seatrial exec lan -- curl -s -m 4 http://203.0.113.10:8080 >/dev/null && echo "$1 yes" || echo "$1 no"; }
    ask before
    seatrial exec host -- iptables -S FORWARD >of-nft
    seatrial exec host -- iptables-legacy -P FORWARD DROP
    ask dropped
    seatrial exec host -- iptables-legacy -A FORWARD -p tcp --dport 80 -j ACCEPT
    seatrial exec host -- iptables-legacy -A FORWARD -p tcp --sport 80 -j ACCEPT
    seatrial exec host -- iptables -S FORWARD >of-nft-then
    [ -s of-nft ] && [ "$(cat of-nft)" = "$(cat of-nft-then)" ] && echo nft is as it was
    ask accepted
'
must 'rules of nft say nothing of those of legacy' '^nft is as it was$' "$said"
must 'what legacy drops is dropped, whatever nft accepts' '^dropped no$' "$said"
must 'what both accept passes' '^accepted yes$' "$said"

# Tests of the core, on this kernel.
mkdir "$scratch/tests"
cargo test --quiet --locked --workspace --test linux --no-run --message-format json >"$scratch/built"
cp "$(sed -n 's/.*"name":"linux".*"executable":"\([^"]*\)".*/\1/p' "$scratch/built")" "$scratch/tests/linux"
disk "$scratch/of-tests" "$(($(du -sm "$scratch/tests" | cut -f1) * 5 / 4 + 16))M" -d "$scratch/tests"
ends 'netem does what it is told' 0 'what_netem_does_goes.* ok$' \
    on "$scratch/of-tests" sh -euc 'unshare --net tc qdisc add dev lo root netem delay 1ms
        exec /disk/linux net::fault:: --nocapture --test-threads 1' </dev/null
must 'and all that is done to wires' '^test result: ok\. [1-9]' "$said"
! grep -q '^skipped' <<<"$said" || fails 'tests of the core' "$said" 'some are skipped'

trials=(fixtures/trials/none --accel tcg)
if image=$(image_of 6.1) && [ -n "$image" ]; then
    mkdir -p "$scratch/modules/kernel"
    ends 'a kernel without virtio' 3 'there is no port to the host: virtio_pci and virtio_console are needed' \
        target/debug/vmtests "${trials[@]}" --kernel "$folder/$image:$scratch/modules"
else
    skipped 'a kernel without virtio' 'kernel 6.1 is not to be had'
fi
if [ "$(id -u)" -eq 0 ]; then
    mkdir "$scratch/machines"
    ends 'a full disk' 0 'it could not be saved: No space left on device' unshare --mount sh -euc '
        mount -t tmpfs -o size=1m none "$0"; SEATRIAL_MACHINES=$0 exec "$@"' \
        "$scratch/machines" target/debug/vmtests "${trials[@]}" --kernel "$version"
else
    skipped 'a full disk' 'it is a small file system, which root mounts: run this with sudo'
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
SEATRIAL_MACHINES='' ends 'QEMU is killed' 3 'it ended before it said anything' killed
printf 'guest: %s s\n' "$SECONDS"
