# host.sh: on a host of its own, starts dockerd, runs /setup/setup.sh, takes a snapshot and tries who reaches whom.
# It is run by capture-hosts.sh, in the engine's root; /client is the root that has Docker's client and Compose.
# shellcheck shell=bash
set -euo pipefail

# shellcheck source=scripts/capture-docker/machine.sh
. /capture/machine.sh

# setup.sh says what else the Engine is started with, and what stood there before it, where it is not this.
flags=()
before() { :; }

# serve NAME PORT [OPTION…]: a container that answers on a port.
serve() {
    local name=$1 port=$2
    shift 2
    docker run -d --name "$name" "$@" bb:1 httpd -f -p "$port" >/dev/null
}

# What a snapshot must not change.
state() {
    iptables-save -t filter | sed '/^[:#]/d'
    ip6tables-save | sed '/^[:#]/d'
    nft list ruleset | sed 's/counter packets [0-9]* bytes [0-9]*//'
    ip address | sed 's/[a-z_]*lft [0-9a-z]*//g'
    ip route show table all
    sysctl -a 2>/dev/null | grep '^net\.' | grep -vE 'nf_conntrack_(count|buckets)|random|\.neigh\.' || true
    find /proc/[0-9]*/ns/net -printf '%l\n' 2>/dev/null | sort -u
}

inside() {
    local node=$1
    shift
    case $node in
    host) "$@" ;;
    lan) ip netns exec lan "$@" ;;
    *) nsenter -t "$(docker inspect -f '{{.State.Pid}}' "$node")" -n "$@" ;;
    esac
}

try() {
    # shellcheck disable=SC2016 # the inner shell's
    inside "$1" timeout 1 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$2" "$3" 2>/dev/null
}

make_machine 203.0.113.50/24
# shellcheck source=/dev/null
. /setup/setup.sh
before
dockerd "${flags[@]}" >/tmp/dockerd.log 2>&1 &
await_engine $! || { cat /tmp/dockerd.log >&2; exit 1; }
make_image
setup
# Until addresses are no longer tried out (duplicate address detection), the kernel itself changes what stands.
while [ -n "$(ip -6 address show tentative)" ]; do sleep 0.2; done
state >/tmp/state.before
chroot / /usr/local/bin/seatrial snapshot -o /result/snapshot.json
state >/tmp/state.after
diff /tmp/state.before /tmp/state.after
mapfile -t nodes < <(echo host; docker ps --format '{{.Names}}' | sort; echo lan)
addresses() { inside "$1" ip -4 -o address | sed -n 's#.* inet \([0-9.]*\)/.*#\1#p'; }
mapfile -t targets < <(for node in "${nodes[@]}"; do addresses "$node"; done | grep -v '^127' | sort -u)
mapfile -t ports < <(for node in "${nodes[@]}"; do inside "$node" ss -Hltn; done |
    sed -n 's/.*:\([0-9]*\) *[^ ]*:\*.*/\1/p' | grep . | sort -nu | awk '$1 < 32768')
for node in "${nodes[@]}"; do
    for target in "${targets[@]}" 127.0.0.1; do
        for port in "${ports[@]}"; do
            if try "$node" "$target" "$port"; then word=reaches; else word=not; fi
            echo "$node -> $target:$port/tcp $word"
        done
    done
done >/result/asked.txt
