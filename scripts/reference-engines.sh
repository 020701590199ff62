#!/usr/bin/env bash
# reference-engines.sh [ENGINE…]: root filesystems with the real Docker Engine, from Debian's packages.
#
#   20.10   Debian 12 (bookworm)
#   26.1    Debian 13 (trixie)
#   28.5    Debian sid, with Docker Compose 2: the client that capture-docker.sh drives all of them with
#
# They are kept in $SEATRIAL_ENGINES (~/.cache/seatrial/engines), some 600 MB each, and made once: what is there is
# left alone. A root that was not finished never gets its name, so that this may be killed and run twice at once.
# Packages come from where this machine's apt gets Debian's; $SEATRIAL_MIRROR names another archive.
set -euo pipefail

say() { printf 'reference-engines: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

engines=${SEATRIAL_ENGINES:-${XDG_CACHE_HOME:-$HOME/.cache}/seatrial/engines}
packages=ca-certificates,docker.io,iptables,nftables,iproute2,conntrack,busybox-static,curl,iputils-ping,procps,netcat-openbsd

suite_of() {
    case $1 in
        20.10) echo bookworm ;;
        26.1) echo trixie ;;
        28.5) echo sid ;;
        *) die "no Debian has Engine '$1': 20.10, 26.1 and 28.5 are to be had" ;;
    esac
}

# The archive that apt on this machine has Debian from.
mirror() {
    if [ -n "${SEATRIAL_MIRROR:-}" ]; then
        echo "$SEATRIAL_MIRROR"
    elif command -v apt-get >/dev/null; then
        # shellcheck disable=SC2016 # apt-get fills these in
        apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' |
            awk -F'|' '$1 == "Debian" && $2 == "Debian" {print $3; exit}'
    fi
}

build() {
    local engine=$1 suite root archive lock partial
    suite=$(suite_of "$engine")
    root=$engines/$engine
    [ ! -d "$root" ] || { say "Engine $engine is in $root"; return; }
    [ "$(id -u)" -eq 0 ] || die "making the root of Engine $engine needs root: run this with sudo"
    command -v debootstrap >/dev/null || die "debootstrap is missing: install the package debootstrap"
    archive=$(mirror)
    [ -n "$archive" ] || die "apt has no Debian archive here: name one in SEATRIAL_MIRROR"
    mkdir -p "$engines"
    exec {lock}>"$engines/.$engine.lock"
    flock "$lock"
    # Another run may have made it while this one waited.
    [ ! -d "$root" ] || { exec {lock}>&-; return; }
    partial=$engines/.$engine.partial
    rm -rf --one-file-system "$partial"
    say "making Engine $engine from Debian $suite; it takes a few minutes"
    # Where this script is killed alone, what it called keeps the lock till it ends. What debootstrap mounts goes with it.
    unshare --mount debootstrap --variant=minbase --include="$packages" "$suite" "$partial" "$archive" >"$engines/$engine.log" 2>&1 ||
        die "debootstrap failed: see $engines/$engine.log"
    more "$engine" "$partial" >>"$engines/$engine.log" 2>&1 || die "apt failed: see $engines/$engine.log"
    rm -rf "$partial"/var/cache/apt/archives/*.deb
    mv -T "$partial" "$root"
    exec {lock}>&-
    say "Engine $engine is in $root"
}

# The client is a package of its own since Debian 13.
more() {
    case $1 in
        20.10) ;;
        26.1) unshare --mount chroot "$2" apt-get install -y --no-install-recommends docker-cli ;;
        28.5) unshare --mount chroot "$2" apt-get install -y --no-install-recommends docker-cli docker-compose ;;
    esac
}

[ "$#" -gt 0 ] || set -- 20.10 26.1 28.5
for engine in "$@"; do suite_of "$engine" >/dev/null; done
for engine in "$@"; do build "$engine"; done
