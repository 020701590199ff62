# inside.sh ENGINE FLAGS: on a host of its own, starts dockerd, applies /topology and writes what stands to /result.
# It is run by capture-docker.sh, in the engine's root; /client is the root that has Docker's client and Compose.
# shellcheck shell=bash
set -euo pipefail
engine=$1 flags=$2
# shellcheck source=scripts/capture-docker/machine.sh
. /capture/machine.sh
# shellcheck source=scripts/capture-docker/world.sh
. /capture/world.sh
# shellcheck source=scripts/capture-docker/resolv.sh
. /capture/resolv.sh

# How 28.5 was started: the first lines of what it left.
setting=/topology/world.txt
[ -e "$setting" ] || setting=/topology/steps.txt
given() { [ ! -e "$setting" ] || sed -n "/^\$/q;s/^$1 //p" "$setting"; }
daemon_flags() {
    given daemon
    [ -z "$flags" ] || echo "$flags"
}
HOST_V6=0 IPFWD=0 WSL2=0
eval "$(given host)"

make_host() {
    make_machine 203.0.113.1/24
    if [ "$HOST_V6" = 1 ]; then
        ip -n lan address add 2001:db8:203::1/64 dev lan0 nodad
        ip address add 2001:db8:203::10/64 dev eth0 nodad
        ip route add default via 2001:db8:203::1
    fi
    if [ "$WSL2" = 1 ]; then
        # What an engine knows WSL2's mirrored network by.
        ip link add loopback0 type veth peer name windows netns lan
        ip link set loopback0 up
        install /dev/null /usr/bin/wslinfo
    fi
    echo "$IPFWD" >/proc/sys/net/ipv4/ip_forward
    echo 0 >/proc/sys/net/ipv6/conf/all/forwarding
    echo 0 >/proc/sys/net/ipv6/conf/default/forwarding
    printf 'nameserver 192.0.2.53\nsearch example.org\noptions timeout:3\n' >/etc/resolv.conf
    printf '127.0.0.1\tlocalhost\n127.0.1.1\tdockhost\n::1\tlocalhost ip6-localhost ip6-loopback\n203.0.113.1\trouter\n' >/etc/hosts
}

start_engine() {
    given daemon-json >/etc/docker/daemon.json
    [ -s /etc/docker/daemon.json ] || rm /etc/docker/daemon.json
    # shellcheck disable=SC2046 # flags are words
    dockerd $(daemon_flags) >/tmp/dockerd.log 2>&1 &
    # A file with a key that it does not know ends it.
    await_engine $! || refused_by /tmp/dockerd.log 'following directives .*'
    make_image
}

compose() { docker compose --project-directory /topology -f /topology/compose.yaml "$@"; }

# refused_by LOG PATTERN: what an engine refused in its own words; ids and progress are not kept.
refused_by() {
    { grep -oE "$2" "$1" || true; } | tail -n 1 | sed -E 's/[0-9a-f]{64}/<id>/g' >/result/refused.txt
    [ -s /result/refused.txt ] || { cat "$1" >&2; tail -n 30 /tmp/dockerd.log >&2; exit 1; }
    exit 0
}

# Compose's own words end with the engine's.
refused() { refused_by /tmp/up.log '(Error response from daemon|.*requires (Docker Engine|API version)).*'; }

rules() {
    for tool in iptables ip6tables; do
        "$tool-save" | sed -E '/^#/d; s/\[[0-9]+:[0-9]+\]/[0:0]/' >"/result/$tool-save$1.txt"
    done
}

container() { docker ps -a --filter "label=com.docker.compose.service=$1" --format '{{.Names}}' | head -n 1; }

play() {
    local word node network
    sed '1,/^$/d' /topology/steps.txt | while read -r word node network; do
        case $word in
            stop) docker stop -t 0 "$(container "$node")" </dev/null >/dev/null ;;
            start) docker start "$(container "$node")" </dev/null >/dev/null ;;
            replace) compose up -d --force-recreate --no-deps -t 0 "$node" </dev/null ;;
            connect) docker network connect "$network" "$(container "$node")" </dev/null ;;
            disconnect) docker network disconnect "$network" "$(container "$node")" </dev/null ;;
            expect) rules ".$node" ;;
            *) echo "what is '$word'?" >&2; exit 1 ;;
        esac
    done
}

# Networks that were made by hand, beside compose.
by_hand() {
    given made | while read -r name _ internal; do
        case $name in
            demo_*) ;;
            *) docker network create ${internal:+--internal} "$name" </dev/null >/dev/null ;;
        esac
    done
}

make_host
start_engine
if [ -e /topology/result.txt ]; then
    ask >/result/result.txt
    exit
fi
compose up -d </dev/null >/tmp/up.log 2>&1 || refused
by_hand
remember
if [ -e /topology/steps.txt ]; then
    { setting_lines; sed -n '/^$/,$p' /topology/steps.txt; } >/result/steps.txt
    play
else
    rules ''
    { setting_lines; world; } | mask >/result/world.txt
fi
