# root.sh: the root of an engine becomes ours, with the client's inside it. Sourced by who captures.
# shellcheck shell=bash

# A root that may be written to and stays as it was: what is written goes into memory.
layer() {
    local lower=$1 at=$2
    mkdir -p "$at/upper" "$at/work" "$3"
    mount -t overlay overlay -o "lowerdir=$lower,upperdir=$at/upper,workdir=$at/work" "$3"
}

# make_root ENGINE MEMORY: in fresh namespaces, below MEMORY/root, which $root names afterwards. $engines has the roots.
make_root() {
    local engine=$1 memory=$2 folder
    root=$memory/root
    mount --make-rprivate /
    mount -t tmpfs tmpfs "$memory"
    layer "$engines/$engine" "$memory/engine" "$root"
    layer "$engines/28.5" "$memory/client" "$root/client"
    mount -t proc proc "$root/proc"
    mount -t sysfs sysfs "$root/sys"
    mount --rbind /dev "$root/dev"
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
    mkdir -p "$root/var/lib/docker" "$root/var/lib/containerd" "$root/old"
    for folder in run tmp var/lib/docker var/lib/containerd; do mount -t tmpfs tmpfs "$root/$folder"; done
    # What the engine and its client share.
    for folder in run tmp proc dev; do
        mkdir -p "$root/client/$folder"
        mount --rbind "$root/$folder" "$root/client/$folder"
    done
}

# share FOLDER NAME: shows a folder as /NAME, to the client too.
share() {
    mkdir -p "$root/$2" "$root/client/$2"
    mount --bind "$1" "$root/$2"
    mount --bind "$1" "$root/client/$2"
}

# leave_for: goes into the root, and forgets the way back.
leave_for() {
    cd "$root"
    pivot_root . old
    umount -l /old
    export PATH=/usr/sbin:/usr/bin:/sbin:/bin
}
