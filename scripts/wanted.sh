# To be sourced: which of the kernels that a script is asked for are to be had.

# wanted VERSION…: fetches these, or all there are, and sets `folder`, where they are, and `versions`, those of them that are
# to be had; the others are said to be skipped. Nothing that cannot be had fails a run: what can be had is still tried.
wanted() {
    local here version
    scripts/kernels.sh "$@"
    folder=${SEATRIAL_KERNELS:-${XDG_CACHE_HOME:-$HOME/.cache}/seatrial/kernels}
    mapfile -t here < <(sed -n 's/.*"version": "\([^"]*\)".*/\1/p' "$folder/manifest.json")
    [ "$#" -gt 0 ] || set -- "${here[@]}"
    versions=()
    for version in "$@"; do
        if [[ " ${here[*]} " = *" $version "* ]]; then
            versions+=("$version")
        else
            printf 'SKIPPED kernel %s: it is not to be had\n' "$version"
        fi
    done
}

# image_of VERSION: the image of a kernel that is to be had.
image_of() {
    sed -n 's/.*"version": "'"$1"'",.*"image": "\([^"]*\)".*/\1/p' "$folder/manifest.json"
}
