#!/usr/bin/env bash
# shellcheck disable=SC2317 # the checks are called by name
# All of CI: format, lints, documents, the walls between the crates, then every test. --quick leaves the tests out.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

failed=0
scratch=$(mktemp)
trap 'rm -f "$scratch"' EXIT

# check NAME COMMAND…: runs it, and says NAME with what came of it; its output only where it fails.
check() {
    local name=$1 output
    shift
    if output=$("$@" 2>&1); then
        printf 'ok      %s\n' "$name"
    else
        printf 'FAILED  %s\n%s\n' "$name" "$output"
        failed=1
    fi
}

# none COMMAND…: holds where the command prints nothing; what it prints is the offence.
none() {
    local output
    output=$("$@")
    [ -z "$output" ] || { printf '%s\n' "$output"; return 1; }
}

# code PATTERN PATH…: lines of Rust that match, comments left out.
code() {
    local pattern=$1
    shift
    grep -rnE --include='*.rs' "$pattern" "$@" | grep -vE '^[^:]+:[0-9]+: *//'
}

# pure PATTERN: lines of core's pure part and of sim that match; sim/src/properties holds tests and nothing else.
pure() { code "$1" core/src sim/src | grep -vE '^(core/src/linux|sim/src/properties)(/|\.rs)'; }

# tree ARGUMENTS…: the names of crates that `cargo tree` shows; a line that no crate is called where it fails.
tree() {
    cargo tree --locked --offline --target x86_64-unknown-linux-gnu --prefix none --format '{p}' "$@" >"$scratch" ||
        echo 'cargo tree failed'
    cut -d' ' -f1 "$scratch" | sort -u
}

io_crates='cargo tree failed|nix|tokio|mio|async-std|rtnetlink|netlink-.*|libc|rustix|socket2|pnet|pnet_datalink|tempfile|rand|getrandom|seatrial-vmtests|seatrial'
does_io() { tree -p "$1" -e normal | grep -xE "$io_crates"; }
users_of_cli() { tree --workspace -e all -i seatrial | grep -vx seatrial; }
sim_knows_docker() { pure 'seatrial_core::topology' | grep -E '^sim/' | grep -vE 'topology::(NodeName|\{?((Mount as Volume|NodeName|RouteSpec|MacvlanMode|IpvlanMode|IpvlanFlag)(, )?)+\}?);' ; }

# A test that is left out, a piece that is missing, and a comment that promises one.
half_done() {
    code '#\[ignore|\b(todo|unimplemented)!' core sim vmtests cli
    grep -rnE --include='*.rs' '//.*\b(TODO|FIXME|XXX|HACK)\b' core sim vmtests cli
}

# A script is parsed by itself: what follows its name is its arguments.
parse() {
    local file
    for file in "$@"; do bash -n "$file" || return 1; done
}

# What flake.nix takes of nixpkgs, and the list of what is known to be there has not.
unlisted() {
    grep -oE '\b(pkgs|lib)\.[A-Za-z][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*' flake.nix | sort -u | while read -r attribute; do
        grep -q "^$attribute " scripts/nix-offline/attributes.txt ||
            echo "flake.nix uses $attribute, which scripts/nix-offline/attributes.txt does not list"
    done
}

# What the README links to, or names in backquotes, and is not there.
missing_files() {
    local file tick='`'
    { grep -oE '\]\([^)#:]+' README.md | cut -c3-
      grep -oE "$tick(core|sim|vmtests|cli|fixtures|scripts|docs)/[^$tick *<]*$tick" README.md | tr -d "$tick"; } |
        sort -u | while read -r file; do [ -e "$file" ] || echo "README.md names $file, and there is no such file"; done
}

check 'format'                                       cargo fmt --all --check
check 'lints'                                        cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
check 'sim and core by themselves, without I/O'          cargo clippy -p seatrial-sim --locked --quiet -- -D warnings
check 'documents'                                    env RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked --quiet
check 'scripts parse'                                parse scripts/*.sh scripts/*/*.sh .ci/run
check 'core does no I/O'                             none does_io seatrial-core
check 'sim does no I/O'                              none does_io seatrial-sim
check 'core and sim touch no machine'                none pure 'std::(fs|env|process|thread|time)\b|TcpStream|TcpListener|UdpSocket|SystemTime|Instant::'
check 'core and sim keep no random order'            none pure '\bHash(Map|Set)\b|RandomState'
check 'only cli and vmtests print'                   none code '\b(e?print(ln)?|dbg)!' core/src sim/src
check 'topology mentions no plan'                    none code 'crate::plan|super::plan' core/src/topology.rs core/src/topology
check 'plan mentions no packet, rules no plan'       none code 'crate::(plan|topology)' core/src/rules.rs core/src/rules
check 'sim knows nothing of Docker'                  none sim_knows_docker
check 'nobody depends on cli'                        none users_of_cli
check 'every lint that is off says why'              none code '#!?\[allow\(' core sim vmtests cli --exclude-dir=target
check 'no test is left out, nothing is half done'    none half_done
check 'flake.nix uses what nixpkgs is known to have' none unlisted
check 'the README names files that exist'            none missing_files

[ "${1:-}" = --quick ] || scripts/test.sh || failed=1
exit "$failed"
