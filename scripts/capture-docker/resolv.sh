# resolv.sh: /etc/resolv.conf and /etc/hosts of containers, for the files and options that a result.txt has already: its
# headings are what is asked, anew. Sourced by inside.sh.
# shellcheck shell=bash

# show CONTAINER PATH…: the files as `cat -A` prints them; an id's digits stand in hosts.
show() {
    local name=$1 pid path
    shift
    pid=$(docker inspect "$name" --format '{{.State.Pid}}' </dev/null)
    for path in "$@"; do
        echo "--- $name $path"
        cat -A "/proc/$pid/root$path"
    done
}

# As the engine was asked: containers c-NETWORK for a host's file, cc for options.
ask_host_file() {
    local network
    for network in bridge un int un6 host none; do
        docker run -d --name "c-$network" --network "$network" bb:1 sleep 1000 </dev/null >/dev/null
        show "c-$network" /etc/resolv.conf
        docker rm -f "c-$network" </dev/null >/dev/null
    done
}

ask_options() {
    # shellcheck disable=SC2086 # options are words
    docker run -d --name cc --network $1 bb:1 sleep 1000 </dev/null >/dev/null
    show cc /etc/resolv.conf /etc/hosts
    docker rm -f cc </dev/null >/dev/null
}

ask() {
    local line section='' network
    cp /etc/resolv.conf /tmp/own.conf
    docker network create un </dev/null >/dev/null
    docker network create --internal int </dev/null >/dev/null
    docker network create --ipv6 --subnet fd05::/64 un6 </dev/null >/dev/null
    while IFS= read -r line; do
        case $line in
            '##### host'*) echo "$line"; section=file; : >/etc/resolv.conf ;;
            '##### options') echo "$line"; section=options; cp /tmp/own.conf /etc/resolv.conf ;;
            '## network='*) echo "$line"; ask_options "${line#'## network='}" ;;
            '---'*) [ "$section" != file ] || { section=asked; ask_host_file; } ;;
            *) [ "$section" != file ] || { echo "$line"; echo "$line" >>/etc/resolv.conf; } ;;
        esac
    done </topology/result.txt
}
