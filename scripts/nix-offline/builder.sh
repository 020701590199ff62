# shellcheck shell=bash disable=SC2154 # nix sets what is not set here
# What the stand-in's derivations are built with.

for input in ${nativeBuildInputs:-}; do PATH=$input/bin:$PATH; done
export PATH

# nix hides the caller. What scripts/nix.sh wrote down of it is beside what both of them build.
HOME=$(getent passwd "$(id -u)" | cut -d: -f6)
export HOME
cache=$HOME/.cache/seatrial
kernels=$cache/kernels tree='' callers=$HOME/.cargo/bin:$PATH
# shellcheck disable=SC1091 # it is written when it is wanted
[ ! -e "$cache/nix/caller" ] || source "$cache/nix/caller"

# kernel VERSION: the image and the modules that scripts/kernels.sh fetched. They are not copied: they stay where they are.
kernel() {
    local line
    line=$(grep -F "\"version\": \"$1\"" "$kernels/manifest.json") ||
        { echo "no kernel $1: run scripts/kernels.sh $1" >&2; exit 1; }
    field() { sed "s/.*\"$1\": \"\([^\"]*\)\".*/\1/" <<<"$line"; }
    mkdir -p "$out/lib/modules"
    ln -s "$kernels/$(field image)" "$out/bzImage"
    ln -s "$kernels/$(field modules)" "$out/lib/modules/$1"
}

# same SOURCE TREE: whether a tree has every file of the source as it is there.
same() {
    local file
    (cd "$1" && find . -type f) | while read -r file; do cmp -s "$1/$file" "$2/$file" || return 1; done
}

# cargo_build SOURCE: the programs, as a developer builds them, unoptimised: in the tree they come from, where that is
# still the same, so that what is compiled there is not compiled again, and else in a copy that is kept for the next time.
cargo_build() {
    local file source=$1 work=$tree
    mkdir -p "$cache/nix"
    exec 9>"$cache/nix/lock"
    flock 9
    if [ -z "$work" ] || ! same "$source" "$work"; then
        work=$cache/nix/source
        mkdir -p "$work"
        (cd "$work" && find . -path ./target -prune -o -type f -print) | while read -r file; do
            [ -e "$source/$file" ] || rm -f "$work/$file"
        done
        # What is the same keeps its time: cargo goes by that.
        (cd "$source" && find . -type f) | while read -r file; do
            cmp -s "$source/$file" "$work/$file" || install -D -m 644 "$source/$file" "$work/$file"
        done
    fi
    (cd "$work" && PATH=$callers CARGO_TARGET_DIR=$work/target cargo build --locked --offline --quiet -p seatrial)
    install -D -t "$out/bin" "$work/target/debug/seatrial" "$work/target/debug/vmtests"
}
