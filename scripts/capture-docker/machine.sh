# machine.sh: the machine that an engine is started on, and what it starts. Sourced by inside.sh and host.sh.
# shellcheck shell=bash

docker() { chroot /client /usr/bin/docker "$@"; }

# make_machine ADDRESS: eth0 has 203.0.113.10/24, and a neighbour on its wire, the namespace lan, has ADDRESS.
make_machine() {
    hostname dockhost
    ip link set lo up
    ip netns add lan
    ip link add eth0 type veth peer name lan0 netns lan
    ip address add 203.0.113.10/24 dev eth0
    ip link set eth0 up
    ip -n lan address add "$1" dev lan0
    ip -n lan link set lan0 up
    ip -n lan link set lo up
    ip route add default via 203.0.113.1
    # A symbolic link in some roots.
    rm -f /etc/resolv.conf
    echo 'nameserver 192.0.2.53' >/etc/resolv.conf
}

# await_engine PID: until it answers; fails where it has ended.
await_engine() {
    for _ in $(seq 200); do
        docker info >/dev/null 2>&1 && return
        kill -0 "$1" 2>/dev/null || return 1
        sleep 0.1
    done
    return 1
}

# What every container runs: bb:1.
make_image() {
    mkdir -p /tmp/image/bin
    cp "$(command -v busybox)" /tmp/image/bin/
    for applet in sh sleep cat httpd; do ln -s busybox "/tmp/image/bin/$applet"; done
    tar -C /tmp/image -c . | docker import - bb:1 >/dev/null
}
