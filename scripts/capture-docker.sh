#!/usr/bin/env bash
# capture-docker.sh [ENGINE…] [TOPOLOGY…]: what real Docker Engines make of compose files, as text.
#
# For each engine (20.10 and 26.1 by default) and each topology (all that fixtures/engines/28.5 has a world.txt,
# steps.txt or result.txt of) a private dockerd is started in namespaces of its own, `docker compose up` is run, and
# what stands then is written to fixtures/engines/ENGINE/TOPOLOGY (or below $SEATRIAL_CAPTURES):
# iptables-save.txt, ip6tables-save.txt and world.txt; where the engine refuses the topology, refused.txt with its
# words. TOPOLOGY:ip6tables starts dockerd with ip6tables, which was an experiment and off before 27, and writes to
# TOPOLOGY-ip6tables. fixtures/engines/README.md says what the files mean. Nothing outside changes. Needs root, and the
# root filesystems of reference-engines.sh: the engine's, and 28.5's, whose client drives all of them.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
engines=${SEATRIAL_ENGINES:-${XDG_CACHE_HOME:-$HOME/.cache}/seatrial/engines}
fixtures=$(cd "$here/../fixtures/engines" && pwd)
captures=${SEATRIAL_CAPTURES:-$fixtures}

say() { printf 'capture-docker: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

# shellcheck source=scripts/capture-docker/root.sh
. "$here/capture-docker/root.sh"

# In fresh namespaces: the engine's root becomes ours, with the client's root inside it.
enter() {
    local engine=$1 topology=${2%:*} result=$3 memory=$4 flags=
    [ "$2" = "$topology" ] || flags='--experimental --ip6tables'
    make_root "$engine" "$memory"
    share "$fixtures/28.5/$topology" topology
    share "$result" result
    share "$here/capture-docker" capture
    leave_for
    exec bash /capture/inside.sh "$engine" "$flags"
}

# keep RESULT FOLDER: what was captured, in the place of what was; what was started stays.
keep() {
    mkdir -p "$2"
    rm -f "$2"/{iptables-save,ip6tables-save,world,refused,steps,result}*.txt
    cp "$1"/* "$2"
}

capture() {
    local engine=$1 topology=$2 work
    work=$(mktemp -d)
    mkdir "$work/result" "$work/memory"
    if unshare --net --mount --pid --uts --ipc --cgroup --fork --kill-child \
        "$here/capture-docker.sh" --enter "$engine" "$topology" "$work/result" "$work/memory" >"$work/log" 2>&1; then
        keep "$work/result" "$captures/$engine/${topology/:/-}"
        say "$engine $topology"
        rm -rf "$work"
    else
        say "$engine $topology failed: see $work/log"
        return 1
    fi
}

if [ "${1:-}" = --enter ]; then
    shift
    enter "$@"
fi

[ "$(id -u)" -eq 0 ] || die "dockerd needs root: run this with sudo"
chosen=() topologies=()
for word in "$@"; do
    if [[ $word =~ ^[0-9]+\.[0-9]+$ ]]; then chosen+=("$word"); else topologies+=("$word"); fi
done
[ "${#chosen[@]}" -gt 0 ] || chosen=(20.10 26.1)
if [ "${#topologies[@]}" -eq 0 ]; then
    for folder in "$fixtures"/28.5/*/; do
        for file in world.txt steps.txt result.txt; do
            [ ! -e "$folder/$file" ] || topologies+=("$(basename "$folder")")
        done
    done
fi
for engine in "${chosen[@]}" 28.5; do
    [ -d "$engines/$engine" ] || die "the root of Engine $engine is missing: scripts/reference-engines.sh $engine makes it"
done
for topology in "${topologies[@]}"; do
    [[ $topology =~ ^[^:]+(:ip6tables)?$ ]] && [ -e "$fixtures/28.5/${topology%:*}" ] || die "no topology '$topology' in fixtures/engines/28.5"
done
failed=0
for engine in "${chosen[@]}"; do
    for topology in "${topologies[@]}"; do capture "$engine" "$topology" || failed=1; done
done
exit "$failed"
