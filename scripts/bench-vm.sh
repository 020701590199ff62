#!/usr/bin/env bash
# Times virtual machines, beside other programs that boot the same kernel: scripts/bench.sh vm [ROUNDS]
# All boot Debian's 6.12 for any machine (the cloud's has no 9p, which the others need), emulated, run `uname -r` there, and
# count only if they say the kernel's release and end with 0. Then vmtests alone: from its start to what came of a first
# trial, booted and restored, and the whole suite.
# virtme-ng and danobi's vmtest are taken where they are on the PATH: `pip install virtme-ng`, which wants udev and kmod;
# `cargo install vmtest`, which wants qemu-guest-agent and a busybox.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-5}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
folder=${XDG_CACHE_HOME:-$HOME/.cache}/seatrial/kernels-generic
scripts/kernels.sh --dir "$folder" --flavour amd64 6.12
field() { sed -n 's/.*"'"$1"'": "\([^"]*\)".*/\1/p' "$folder/manifest.json"; }
image=$folder/$(field image) modules=$folder/$(field modules)
release=${modules##*/}
cargo build --quiet --release --locked -p seatrial
vmtests=$PWD/target/release/vmtests

skipped() { printf 'SKIPPED %s: %s\n' "$1" "$2"; }

ours() { "$vmtests" --shell --accel tcg --kernel "$image:$modules" -- uname -r; }
virtme_ng() { vng --run "$image" --disable-kvm -- uname -r; }
danobi() { VMTEST_NO_UI=1 vmtest --config "$scratch/vmtest.toml"; }

# An emulator that is never asked for KVM, which vmtest does wherever /dev/kvm is; and an initramfs that mounts its root, as
# Debian's kernels have 9p as modules.
for_danobi() {
    local root=$scratch/initramfs base=${modules%%/lib/modules/*} name number=0
    # Debian's packages have no list of what needs what.
    depmod -b "$base" "$release"
    mkdir -p "$root/root" "$root/proc"
    cp "$(command -v busybox)" "$root/busybox"
    for name in netfs 9pnet 9pnet_virtio 9p; do
        # What a module needs stands before it.
        modprobe -d "$base" -S "$release" --show-depends "$name"
    done | awk '/^insmod/ && !seen[$2]++ {print $2}' >"$scratch/modules"
    while read -r module; do
        number=$((number + 1))
        case $module in
        *.xz) xz -dc "$module" ;;
        *) cat "$module" ;;
        esac >"$root/$(printf '%02d' "$number").ko"
    done <"$scratch/modules"
    cat >"$root/init" <<'INIT'
#!/busybox sh
for module in /*.ko; do /busybox insmod "$module"; done
/busybox mount -t proc none /proc
init=$(/busybox sed 's/.*init=\([^ ]*\).*/\1/' /proc/cmdline)
/busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=1048576,cache=mmap /dev/root /root
/busybox umount /proc
exec /busybox switch_root /root "$init"
INIT
    chmod +x "$root/init"
    (cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null) >"$scratch/initrd"
    cat >"$scratch/qemu" <<'QEMU'
#!/bin/bash
arguments=()
while [ "$#" -gt 0 ]; do
    case $1 in
    -enable-kvm) ;;
    -cpu) shift; arguments+=(-cpu qemu64) ;;
    *) arguments+=("$1") ;;
    esac
    shift
done
exec qemu-system-x86_64 "${arguments[@]}"
QEMU
    chmod +x "$scratch/qemu"
    cat >"$scratch/vmtest.toml" <<TOML
[[target]]
name = "6.12"
kernel = "$image"
qemu_command = "$scratch/qemu"
command = "uname -r"
[target.vm]
extra_args = ["-initrd", "$scratch/initrd"]
TOML
}

# once NAME: how long it takes, in milliseconds.
once() {
    local began=${EPOCHREALTIME/./} status=0
    "$1" >"$scratch/$1.log" 2>&1 </dev/null || status=$?
    local ended=${EPOCHREALTIME/./}
    if [ "$status" -ne 0 ] || ! grep -q "$release" "$scratch/$1.log"; then
        tail -n 20 "$scratch/$1.log" >&2
        printf 'FAILED: %s ended with %s, and must say %s\n' "$1" "$status" "$release" >&2
        return 1
    fi
    echo $(((ended - began) / 1000))
}

who=(ours)
if command -v vng >/dev/null; then
    who+=(virtme_ng)
else
    skipped virtme-ng 'there is no vng on the PATH'
fi
if ! command -v vmtest >/dev/null; then
    skipped "danobi's vmtest" 'there is no vmtest on the PATH'
elif ! command -v qemu-ga >/dev/null || ! command -v busybox >/dev/null || ! command -v depmod >/dev/null; then
    skipped "danobi's vmtest" 'it wants qemu-guest-agent, busybox and kmod'
else
    for_danobi
    who+=(danobi)
fi

# In turns, so that whatever else the machine does meets all of them.
for ((round = 0; round < rounds; round++)); do
    for name in "${who[@]}"; do
        once "$name" >>"$scratch/$name.ms"
    done
done
printf '%s: from a start to what `uname -r` says there, ms of %s rounds, the fastest first\n' "$release" "$rounds"
for name in "${who[@]}"; do
    printf '  %-10s %s\n' "$name" "$(sort -n "$scratch/$name.ms" | tr '\n' ' ')"
done

mkdir "$scratch/machines"
export SEATRIAL_MACHINES=$scratch/machines
kernel=(--accel tcg --kernel "$image:$modules")
for what in booted restored restored; do
    printf '%s: %s\n' "$what" "$("$vmtests" fixtures/trials/none "${kernel[@]}" | grep '^vm ')"
done
began=$SECONDS
"$vmtests" "${kernel[@]}" 2>/dev/null | tail -n 2
printf 'the whole suite on one kernel: %s s\n' "$((SECONDS - began))"
