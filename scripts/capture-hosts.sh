#!/usr/bin/env bash
# capture-hosts.sh [HOST…]: Docker hosts as `seatrial snapshot` sees them, and what their own kernel says of them.
#
# Each folder of fixtures/hosts has a setup.sh; its first line names the Engine: `# engine 28.5`. On a host of its own, in
# fresh namespaces, that Engine is started and setup.sh run; then a snapshot is taken, and everybody there (the host, each
# container, a machine of the LAN) tries to connect to every address and port of the others. The folder gets
# snapshot.json and asked.txt: a line a try, `lan -> 203.0.113.10:8080/tcp reaches`, or `not`. That nothing changed while the
# snapshot was taken is looked at too. Without a HOST all of them. Nothing outside changes. Needs root, `cargo build` before,
# and the root filesystems of reference-engines.sh: the engine's, and 28.5's, whose client drives all of them.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
engines=${SEATRIAL_ENGINES:-${XDG_CACHE_HOME:-$HOME/.cache}/seatrial/engines}
hosts=$(cd "$here/../fixtures/hosts" && pwd)
program=$here/../target/debug/seatrial

say() { printf 'capture-hosts: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

# shellcheck source=scripts/capture-docker/root.sh
. "$here/capture-docker/root.sh"

enter() {
    local engine=$1 setup=$2 result=$3 memory=$4
    make_root "$engine" "$memory"
    share "$setup" setup
    share "$result" result
    share "$here/capture-docker" capture
    install -m 755 "$program" "$root/usr/local/bin/seatrial"
    leave_for
    exec bash /capture/host.sh
}

capture() {
    local name=$1 engine work
    engine=$(sed -n '1s/^# engine //p' "$hosts/$name/setup.sh")
    [ -n "$engine" ] || die "$name/setup.sh does not begin with '# engine VERSION'"
    [ -d "$engines/$engine" ] || die "the root of Engine $engine is missing: scripts/reference-engines.sh $engine makes it"
    work=$(mktemp -d)
    mkdir "$work/result" "$work/memory"
    if unshare --net --mount --pid --uts --ipc --cgroup --fork --kill-child \
        "$here/capture-hosts.sh" --enter "$engine" "$hosts/$name" "$work/result" "$work/memory" >"$work/log" 2>&1; then
        mv "$work"/result/* "$hosts/$name/"
        say "$name: $(wc -l <"$hosts/$name/asked.txt") tries"
        rm -rf "$work"
    else
        say "$name failed: see $work/log"
        return 1
    fi
}

if [ "${1:-}" = --enter ]; then
    shift
    enter "$@"
fi

[ "$(id -u)" -eq 0 ] || die "dockerd needs root: run this with sudo"
[ -x "$program" ] || die "build the program first: cargo build"
[ -d "$engines/28.5" ] || die "the root of Engine 28.5 is missing: scripts/reference-engines.sh 28.5 makes it"
[ "$#" -gt 0 ] || set -- $(cd "$hosts" && for setup in */setup.sh; do dirname "$setup"; done)
failed=0
for name in "$@"; do
    [ -e "$hosts/$name/setup.sh" ] || die "there is no fixtures/hosts/$name/setup.sh"
    capture "$name" || failed=1
done
exit "$failed"
