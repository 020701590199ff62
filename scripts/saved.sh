#!/usr/bin/env bash
# Saved machines, and what can happen to them, with a real kernel: scripts/saved.sh [VERSION]
set -euo pipefail
cd "$(dirname "$0")/.."
version=${1:-6.1}

cargo build --quiet --locked -p seatrial
SEATRIAL_MACHINES=$(mktemp -d)
export SEATRIAL_MACHINES
trials=$(mktemp -d)
trap 'rm -rf "$SEATRIAL_MACHINES" "$trials"' EXIT
cp fixtures/trials/none/none.trial.yaml "$trials"

run() {
    timeout 300 target/debug/vmtests "$trials" --accel tcg --kernel "$version"
}

# must WHAT WORDS [NOT]: what a run must say, once, and must not.
must() {
    local what=$1 words=$2 not=${3:-} said
    said=$(run) || { printf '%s\n' "$said"; printf 'FAILED: %s\n' "$what"; exit 1; }
    if ! grep -q -- "$words" <<<"$said"; then
        printf '%s\nFAILED: %s: it does not say "%s"\n' "$said" "$what" "$words"
        exit 1
    fi
    if [ -n "$not" ] && grep -q -- "$not" <<<"$said"; then
        printf '%s\nFAILED: %s: it says "%s"\n' "$said" "$what" "$not"
        exit 1
    fi
    printf 'ok: %s: %s\n' "$what" "$(grep "^vm $version" <<<"$said")"
}

saved() {
    echo "$SEATRIAL_MACHINES"/*.machine
}

must 'nothing is saved' ', up after'
must 'one is saved' ', restored after'
truncate -s -1 "$(saved)"
must 'the saved one is torn' 'was of no use: it is torn'
must 'it was made anew' ', restored after'
printf x | dd of="$(saved)" bs=1 seek=33554432 conv=notrunc status=none
must 'a byte of its memory is another' 'was of no use: it is not as it was saved'
printf '\0' | dd of="$(saved)" bs=1 seek=1073741900 conv=notrunc status=none
must 'its devices are other ones' 'was of no use'
must 'it was made anew' ', restored after'

for copy in 1 2 3; do
    { echo 'fresh: true'; cat "$trials/none.trial.yaml"; } >"$trials/$copy.trial.yaml"
done
# A copy that has not the host's time, or the same random bytes as another, is of no use, and says so: tried with a guest that
# leaves out CLOCK_REALTIME, and one that leaves out RNDRESEEDCRNG. RNDADDENTROPY alone is not missed here: when the kernel
# renews its state it takes the cycle counter in too, which differs.
must 'three trials have a copy each, at one time' '^4 trials: 88 held, 0 failed$' 'was of no use'
rm "$trials"/[123].trial.yaml

rm "$(saved)"
run >/dev/null & one=$!
run >/dev/null & other=$!
wait "$one" && wait "$other" || { echo 'FAILED: two at one time'; exit 1; }
must 'two saved it at one time' ', restored after'

rm "$(saved)"
target/debug/vmtests "$trials" --accel tcg --kernel "$version" >/dev/null 2>&1 & killed=$!
# While it writes, a file without a name is in the folder.
until [[ "$(readlink "/proc/$killed/fd/"* 2>/dev/null)" = *"$SEATRIAL_MACHINES/#"* ]]; do
    [ -d "/proc/$killed" ] || { echo 'FAILED: nothing was written'; exit 1; }
done
kill -KILL "$killed"
{ wait "$killed" || true; } 2>/dev/null
[ -z "$(find "$SEATRIAL_MACHINES" -mindepth 1 ! -name '*.machine')" ] ||
    { echo 'FAILED: one that was killed while it wrote left something'; exit 1; }
echo 'ok: one that was killed while it wrote left nothing'

rm -r "$SEATRIAL_MACHINES"
touch "$SEATRIAL_MACHINES"
must 'it cannot be saved' '; it could not be saved: '
