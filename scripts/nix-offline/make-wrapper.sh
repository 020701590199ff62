#!/bin/bash
# makeWrapper PROGRAM WRAPPER OPTION…: as much of nixpkgs' as ../../flake.nix uses
# (pkgs/build-support/setup-hooks/make-wrapper.sh).
set -euo pipefail

program=$1 wrapper=$2
shift 2
mkdir -p "$(dirname "$wrapper")"
{
    echo '#!/bin/bash'
    while [ "$#" -gt 0 ]; do
        case $1 in
        --prefix)
            echo "export $2='$4'\"\${$2:+$3\$$2}\""
            shift 4
            ;;
        --set-default)
            echo "export $2=\"\${$2-$3}\""
            shift 3
            ;;
        *)
            echo "makeWrapper: $1 is not known" >&2
            exit 1
            ;;
        esac
    done
    echo "exec '$program' \"\$@\""
} >"$wrapper"
chmod 755 "$wrapper"
