#!/usr/bin/env bash
# Fetches Debian's cloud kernels, for lane vm: scripts/kernels.sh [--dir FOLDER] [--flavour amd64] [VERSION…]
#
# Packages come with apt, verified by apt, into a folder of their own: the system's sources and packages stay as they are.
# Without a VERSION all are fetched. What the mirror does not have is named, and the rest goes on.
# FOLDER is $SEATRIAL_KERNELS, else ~/.cache/seatrial/kernels; in it, manifest.json lists what is there.
set -euo pipefail

known='5.10 6.1 6.12 6.18 7.2 7.3'

say() { printf 'kernels: %s\n' "$*"; }
die() { printf 'kernels: %s\n' "$*" >&2; exit 1; }

folder=${SEATRIAL_KERNELS:-${XDG_CACHE_HOME:-$HOME/.cache}/seatrial/kernels}
if [ "${1:-}" = --dir ]; then
    folder=${2:?"--dir needs a folder"}
    shift 2
fi
# Those for any machine have what the cloud's leave out, 9p for one.
flavour=cloud-amd64
if [ "${1:-}" = --flavour ]; then
    flavour=${2:?"--flavour needs a name"}
    shift 2
fi
read -ra wanted <<<"${*:-$known}"
for version in "${wanted[@]}"; do
    [[ " $known " = *" $version "* ]] || die "no kernel $version: there are $known"
done
for tool in apt-get apt-cache dpkg-deb sha256sum; do
    command -v "$tool" >/dev/null || die "$tool is missing: Debian's kernels are fetched with it"
done
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$keyring" ] || die "$keyring is missing: install debian-archive-keyring"

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
exec 9>"$folder/.lock"
flock -n 9 || { say "another run is at work in $folder: waiting for it"; flock 9; }

# The mirror that this machine uses, or Debian's.
mirror=$(sed -n 's/^URIs: *\(.*\/debian\)\/*$/\1/p' /etc/apt/sources.list.d/*.sources 2>/dev/null | head -n 1)
mirror=${mirror:-$(sed -n 's/^deb [^#]*\(http[^ ]*\/debian\)\/* .*/\1/p' /etc/apt/sources.list 2>/dev/null | head -n 1)}
mirror=${mirror:-http://deb.debian.org/debian}
security=${mirror%/debian}/debian-security

apt=$folder/apt
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/etc/none"
: >"$apt/status"
for suite in bullseye bookworm trixie trixie-backports sid; do
    printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$mirror" "$suite"
    case $suite in
    bullseye | bookworm | trixie)
        printf 'deb [signed-by=%s] %s %s-security main\n' "$keyring" "$security" "$suite"
        ;;
    esac
done >"$apt/etc/sources.list"
options=(
    -o "Dir::Etc::SourceList=$apt/etc/sources.list" -o "Dir::Etc::SourceParts=$apt/etc/none" -o Dir::Etc::Preferences=/dev/null
    -o "Dir::Etc::PreferencesParts=$apt/etc/none" -o "Dir::State::Lists=$apt/lists" -o "Dir::State::Status=$apt/status"
    -o "Dir::Cache=$apt/cache" -o APT::Architecture=amd64 -o APT::Architectures=amd64
    -o Acquire::Languages=none -o Acquire::Check-Valid-Until=false -o APT::Sandbox::User=root
)
say "asking the mirror what it has"
apt-get "${options[@]}" -q=2 update || say "some of the lists could not be fetched; going on with those that could"

# The newest image package of a version: `linux-image-6.1.0-37-cloud-amd64`.
image_of() {
    apt-cache "${options[@]}" search --names-only "^linux-image-[0-9].*-$flavour$" |
        awk '{print $1}' | grep -E "^linux-image-${1/./\\.}[.-]" | grep -vE -- "-(cloud|rt)-${flavour}$" | sort -V | tail -n 1
}

# The packages that hold an image and its modules: since 7.x the image is a package of dependencies.
packages_of() {
    apt-cache "${options[@]}" depends --important "$1" | awk '/Depends:/ {print $2}' |
        grep -E '^linux-(binary|modules)-' || true
    printf '%s\n' "$1"
}

fetch() {
    local version=$1 image target
    image=$(image_of "$version")
    [ -n "$image" ] || { say "$version: the mirror has none"; return 1; }
    target=$folder/$version
    if [ -e "$target/package" ] && [ "$(cat "$target/package")" = "$image" ]; then
        say "$version: $image is here"
        return
    fi
    rm -rf "$target" "$target.new"
    mkdir -p "$target.new/debs" "$target.new/root"
    mapfile -t packages < <(packages_of "$image")
    (cd "$target.new/debs" && apt-get "${options[@]}" -q=2 download "${packages[@]}") ||
        { say "$version: $image is listed and cannot be downloaded"; rm -rf "$target.new"; return 1; }
    for deb in "$target.new"/debs/*.deb; do
        dpkg-deb -x "$deb" "$target.new/root"
    done
    rm -r "$target.new/debs"
    printf '%s\n' "$image" >"$target.new/package"
    mv "$target.new" "$target"
    say "$version: $image"
}

# One line of the manifest: where the image and the modules are, relative to the manifest, and the image's hash.
entry() {
    local version=$1 image modules
    image=$(cd "$folder" && find "$version/root" -name 'vmlinuz*' -type f | head -n 1)
    modules=$(cd "$folder" && find "$version/root" -type d -path '*/lib/modules/*' -prune | head -n 1)
    [ -n "$image" ] && [ -n "$modules" ] || return 0
    printf '{ "version": "%s", "package": "%s", "image": "%s", "modules": "%s", "sha256": "%s" }' \
        "$version" "$(cat "$folder/$version/package")" "$image" "$modules" \
        "$(sha256sum "$folder/$image" | cut -d' ' -f1)"
}

missing=()
for version in "${wanted[@]}"; do
    fetch "$version" || missing+=("$version")
done

{
    printf '[\n'
    separator='  '
    for version in $known; do
        [ -e "$folder/$version/package" ] || continue
        line=$(entry "$version")
        [ -n "$line" ] || continue
        printf '%s%s' "$separator" "$line"
        separator=$',\n  '
    done
    printf '\n]\n'
} >"$folder/manifest.json.new"
mv "$folder/manifest.json.new" "$folder/manifest.json"
say "listed in $folder/manifest.json"
[ "${#missing[@]}" -eq 0 ] || say "not to be had: ${missing[*]}"
