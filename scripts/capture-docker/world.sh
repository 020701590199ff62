# world.sh: what stands on a Docker host, as fixtures/engines/README.md says of world.txt. Sourced by inside.sh.
# shellcheck shell=bash

# Names in the order of their events.
happened() { docker events --since 0 --until "$(date +%s.%N)" --filter "type=$1" --filter "event=$2" --format '{{.Actor.Attributes.name}}'; }

# What there is, in files: /tmp/made and /tmp/started, with names in order, and /tmp/endpoints.
remember() {
    happened network create | grep -vxE 'bridge|host|none' >/tmp/made || true
    happened container start | awk '!seen[$0]++' >/tmp/started
    endpoints >/tmp/endpoints
}

device_of() {
    docker network inspect "$1" --format \
        '{{if eq .Driver "bridge"}}{{or (index .Options "com.docker.network.bridge.name") (printf "br-%.12s" .Id)}}{{end}}'
}

setting_lines() {
    daemon_flags | sed 's/^/daemon /'
    given daemon-json | sed 's/^/daemon-json /'
    given host | sed 's/^/host /'
    local name device
    for name in $(cat /tmp/made); do
        # What the bridge is called where nobody names it.
        device=$(docker network inspect "$name" --format '{{if eq .Driver "bridge"}}{{printf "br-%.12s" .Id}}{{end}}')
        printf 'made %s%s' "$name" "${device:+ $device}"
        case $name in demo_*) ;; *) [ "$(docker network inspect "$name" --format '{{.Internal}}')" = false ] || printf ' internal' ;; esac
        echo
    done
    for name in $(cat /tmp/started); do echo "started $name"; done
}

# Addresses but for the link-local one the kernel makes of the hardware address.
addresses() { "$@" | awk '$3 ~ /^inet/ && ($4 !~ /^fe80/ || $4 == "fe80::1/64") {print "  address " $4}'; }

bridge() {
    local conf=/proc/sys/net port
    echo "link $1 bridge mtu $(cat "/sys/class/net/$1/mtu")"
    addresses ip -o address show dev "$1"
    echo "  route_localnet $(cat "$conf/ipv4/conf/$1/route_localnet")"
    echo "  accept_ra $(cat "$conf/ipv6/conf/$1/accept_ra")"
    echo "  disable_ipv6 $(cat "$conf/ipv6/conf/$1/disable_ipv6")"
    for port in "/sys/class/net/$1"/brif/*; do
        [ ! -e "$port" ] || echo "  port hairpin $(cat "$port/brport/hairpin_mode" 2>/dev/null || cat "$port/hairpin_mode")"
    done
}

host_section() {
    local name device
    echo '[host]'
    bridge docker0
    for name in $(cat /tmp/made); do
        device=$(device_of "$name")
        [ -z "$device" ] || bridge "$device"
    done
    for name in net.ipv4.ip_forward net.ipv6.conf.all.forwarding net.ipv6.conf.default.forwarding; do
        echo "sysctl $name $(cat "/proc/sys/${name//.//}")"
    done
    pgrep -a docker-proxy | sed -E 's/^[0-9]+ [^ ]*docker-proxy/proxy/; s/ -use-listen-fd//' || true
    ss -Hlntup | awk '/"dockerd"/ {print "held " $1 " " $5}' | sort
}

# `MAC NETWORK` of every endpoint there is.
endpoints() {
    # shellcheck disable=SC2016
    docker ps -q | xargs -r docker inspect --format \
        '{{range $name, $e := .NetworkSettings.Networks}}{{$e.MacAddress}} {{$name}}{{"\n"}}{{end}}' | grep -v '^ ' || true
}

# Containers join several networks in random order: their devices are told by the networks.
devices() {
    local pid=$1 device mac label several
    several=$(nsenter -t "$pid" -n ip -o link | grep -vc ' lo:' || true)
    nsenter -t "$pid" -n ip -o link | sed -nE 's/^[0-9]+: ([^:@]+).*link\/ether ([0-9a-f:]+).*/\1 \2/p' |
        while read -r device mac; do
            label=$device
            if [ "$several" -gt 1 ] && [[ $device =~ ^eth[0-9]+$ ]]; then
                label="{$(awk -v mac="$mac" '$1 == mac {print $2; exit}' /tmp/endpoints)}"
            fi
            echo "$device $label $mac"
        done
}

link() {
    local pid=$1 device=$2 label=$3 mac=$4
    echo "link $label mtu $(nsenter -t "$pid" -n ip -o link show dev "$device" | grep -oE 'mtu [0-9]+' | cut -d' ' -f2)"
    # Random since 28.0.
    case $engine in
        28.*) ;;
        *) echo "  mac $mac" ;;
    esac
    addresses nsenter -t "$pid" -n ip -o address show dev "$device"
    echo "  disable_ipv6 $(nsenter -t "$pid" -n cat "/proc/sys/net/ipv6/conf/$device/disable_ipv6")"
}

netns_lines() {
    local name=$1 pid=$2 device label mac key
    devices "$pid" >/tmp/devices
    sort -k2 /tmp/devices | while read -r device label mac; do link "$pid" "$device" "$label" "$mac"; done
    { nsenter -t "$pid" -n ip route show default; nsenter -t "$pid" -n ip -6 route show default; } |
        sed -nE 's/^default( via [^ ]+)? dev ([^ ]+).*/\2\1/p' | while read -r device label; do
        label="${label:+ $label}"
        echo "route default$label dev $(awk -v device="$device" '$1 == device {print $2}' /tmp/devices)"
    done
    {
        printf '%s\n' net.ipv4.ip_unprivileged_port_start net.ipv4.ping_group_range
        # shellcheck disable=SC2016
        docker inspect "$name" --format '{{range $k, $v := .HostConfig.Sysctls}}{{$k}}{{"\n"}}{{end}}'
    } | sort -u | grep . | while read -r key; do
        echo "sysctl $key $(nsenter -t "$pid" -n cat "/proc/sys/${key//.//}" | tr '\t' ' ')"
    done
}

own() {
    local kind
    printf own
    for kind in net mnt pid uts ipc cgroup user; do
        [ "$(readlink "/proc/$1/ns/$kind")" = "$(readlink "/proc/self/ns/$kind")" ] || printf ' %s' "$kind"
    done
    echo
}

# The engine's list of names where it keeps one (25 and newer), else the name and the aliases.
names() {
    # shellcheck disable=SC2016
    docker inspect "$1" --format '{{$own := slice .Name 1}}{{range $name, $e := .NetworkSettings.Networks}}{{if $e.NetworkID}}names {{$name}}{{if $e.DNSNames}}{{range $e.DNSNames}} {{.}}{{end}}{{else if $e.Aliases}} {{$own}}{{range $e.Aliases}} {{.}}{{end}}{{end}}{{"\n"}}{{end}}{{end}}' |
        awk '{line = $1 " " $2; split("", seen); for (i = 3; i <= NF; i++) if (!seen[$i]++) line = line " " $i} NF > 2 {print line}'
}

file() {
    echo "file $2"
    if [ "$2" = /etc/hosts ] && [ "$3" -gt 1 ]; then
        { head -n 6; sort; } <"/proc/$1/root$2"
    else
        cat "/proc/$1/root$2"
    fi | sed 's/^/| /; s/^| $/|/'
}

container_section() {
    local name=$1 pid domain several=0
    pid=$(docker inspect "$name" --format '{{.State.Pid}}')
    [ "$pid" != 0 ] || return 0
    echo
    echo "[$name]"
    if [ "$(readlink "/proc/$pid/ns/net")" != "$(readlink /proc/self/ns/net)" ]; then
        netns_lines "$name" "$pid"
        several=$(wc -l </tmp/devices)
    fi
    own "$pid"
    domain=$(nsenter -t "$pid" -u cat /proc/sys/kernel/domainname)
    [ "$domain" != '(none)' ] || domain=
    echo "hostname $(nsenter -t "$pid" -u hostname)${domain:+ domain $domain}"
    names "$name"
    for path in /etc/hosts /etc/resolv.conf /etc/hostname; do file "$pid" "$path" "$several"; done
}

world() {
    local name
    echo
    host_section
    for name in $(cat /tmp/started); do container_section "$name"; done
}

# Ids are random. A bridge that is named by its network's id is told by the network, but for the lines that name it.
mask() {
    local script='' name device
    for name in $(cat /tmp/made); do
        device=$(device_of "$name")
        [[ ! $device =~ ^br-[0-9a-f]{12}$ ]] || script+="/^made /!s/$device/br-{$name}/g;"
    done
    sed -E "$script"':again; /^made /!s/(^|[ .\t])[0-9a-f]{12}([ .\t]|$)/\1<id>\2/; t again'
}
