#!/usr/bin/env bash
# Breaks the rules of the election one by one, and checks that the simulator finds each.
#
#   tests/mutants/run.sh             all mutants, about 6 minutes on two cores
#   tests/mutants/run.sh NAME...     these
#
# A mutant is a patch in this folder. Its first line says what is wrong with it, the second names
# the rule that the simulator has to find broken. It is applied to a copy of the source under
# target/mutants. The copy holds only what the election needs, so that it builds in seconds. A
# mutant fails the run if it survives MUTANT_SEEDS seeds (default 20000), if another rule than the
# named one is found broken, or if it no longer applies or compiles.
#
#   tests/mutants/run.sh --tree      makes such a copy, and prints where
#
# In it, cargo-mutants breaks one expression after another, for the unit tests to notice: 800
# mutants in 20 minutes. A mutant that they miss should have no effect, or be one for the simulator:
# `mutants.out/diff` has the patches.
#
#   cd "$(tests/mutants/run.sh --tree)" && cargo mutants --baseline=skip --timeout=30 --jobs=2 \
#       --cargo-test-arg=--lib --file=src/election.rs --file='src/election/*.rs' \
#       --file=src/lease.rs --file=src/leadership.rs --file=src/timing.rs
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
state=$root/target/mutants
tree=$state/tree
clean=$state/clean
seeds=${MUTANT_SEEDS:-20000}
kept="clock|drain|election|error|event|fence|json|leadership|lease|store|sys|timing|utc|wait"
export CARGO_TARGET_DIR=$state/build CARGO_INCREMENTAL=1

manifest() {
    cat <<'END'
[package]
name = "leasehold"
version = "0.0.0"
edition = "2024"
[features]
vip = []
capi = []
[lints.rust]
unexpected_cfgs = "allow"
[profile.dev]
opt-level = 1
debug = false
[profile.dev.package."*"]
opt-level = 3
[workspace]
[dependencies]
rustix = { version = "1", features = ["event", "fs", "mm", "time", "use-libc-auxv"] }
END
    grep -E '^(crossbeam-channel|getrandom|humantime|log|parking_lot|serde|serde_json|thiserror) = ' \
        Cargo.toml | awk '!seen[$1]++'
}

# One run at a time. Everything that a run starts inherits the lock. So when a run is killed, the
# next one waits until the last compiler and simulator of it have ended: a late build of a broken
# source must not pass for one of the clean source.
lock() {
    mkdir -p "$state"
    exec 9>"$state/lock"
    flock --nonblock 9 && return
    echo "waiting for another run to end"
    flock 9
}

# Copies to DIRECTORY what the election needs of the source.
lay_out() {
    rm -rf "$1"
    mkdir -p "$1/tests"
    cp -r src "$1/src"
    cp -r tests/simulation tests/simulation.rs "$1/tests/"
    cp Cargo.lock "$1/"
    manifest >"$1/Cargo.toml"
    rm -r "$1/src/bin"
    grep -E "^(pub )?mod ($kept);" src/lib.rs >"$1/src/lib.rs"
    sed -i '/^pub mod nats;/d' "$1/src/store.rs"
    # Of virtual IPs, the events name the type of a build without them.
    {
        echo "pub mod vip { use log::Level; use std::fmt; #[derive(Clone, Debug)]"
        sed -n '/^pub enum VipEvent/,/^\/\/\/ A worker for/{/^\/\/\/ A worker for/d;p}' src/vip/absent.rs
        echo "}"
    } >>"$1/src/lib.rs"
}

# The same without the simulator and the tests of forked processes, which need more than the copy
# has.
lay_out_bare() {
    lay_out "$state/bare"
    rm -r "$state/bare/tests"
    sed -i '/^#\[cfg(all(test, target_os = "linux"/,/^mod fork_tests;/d' "$state/bare/src/sys.rs"
    echo "$state/bare"
}

# Builds the simulator of the copy, and prints its path.
build() {
    (cd "$tree" && cargo test --quiet --offline --test simulation --no-run \
        --message-format=json 2>"$tree/build.log") |
        sed -n 's/.*"executable":"\([^"]*\)".*/\1/p'
}

# Takes the change of PATCH back, also one that was applied in part. The files get a new time, so
# that they are built again.
restore() {
    local file
    for file in $(sed -n 's#^+++ b/##p' "$1"); do
        cp "$clean/$file" "$tree/$file"
        rm -f "$tree/$file.orig" "$tree/$file.rej"
    done
}

# Applies PATCH, and sets `result` and `after` by what the simulator finds broken: RULE is "I1
# NAME".
try() {
    local rule=$2 simulator output
    after=-
    if ! patch --quiet --strip=1 --fuzz=0 --directory="$tree" <"$1" >/dev/null; then
        result="DOES NOT APPLY"
        return 1
    fi
    simulator=$(build) || true
    if [ -z "$simulator" ]; then
        result="DOES NOT COMPILE"
        return 1
    fi
    output=$(LEASEHOLD_RULE=${rule%% *} LEASEHOLD_SEEDS=$seeds "$simulator" 2>&1) || true
    after=$(sed -n 's/^\([0-9]*\) seeds, .*/\1/p' <<<"$output" | head -n 1)
    if ! grep -q "^seed [0-9]*: $rule: " <<<"$output"; then
        result=SURVIVES
        return 1
    fi
    result=caught
}

main() {
    local patch name rule simulator result after=- caught=0 failed=0 patches=()
    lock
    if [ "${1-}" = --tree ]; then
        lay_out_bare
        return
    fi
    if [ $# -gt 0 ]; then
        for name in "$@"; do patches+=("tests/mutants/$name.patch"); done
    else
        patches=(tests/mutants/*.patch)
    fi
    # Copies, so that the source and the patches can be changed during the run.
    lay_out "$clean"
    cp "${patches[@]}" "$clean/"
    rm -rf "$tree"
    cp -r "$clean" "$tree"
    simulator=$(build) || true
    [ -n "$simulator" ] || { cat "$tree/build.log"; echo "the copy does not build"; exit 1; }
    LEASEHOLD_SEEDS=200 "$simulator" >/dev/null 2>&1 ||
        { echo "the simulator finds a rule broken in the source as it is"; exit 1; }
    printf '%-22s %-36s %-18s %s\n' rule mutant result seeds
    for patch in "${patches[@]}"; do
        name=$(basename "$patch" .patch)
        patch=$clean/$name.patch
        rule=$(sed -n 's/^Caught by \([IL][0-9]* [A-Za-z]*\)\.$/\1/p' "$patch")
        result="NAMES NO RULE"
        if [ -n "$rule" ] && try "$patch" "$rule"; then
            caught=$((caught + 1))
        else
            failed=$((failed + 1))
        fi
        printf '%-22s %-36s %-18s %s\n' "$rule" "$name" "$result" "$after"
        restore "$patch"
    done
    printf '%d mutants caught, %d not, in %d s\n' "$caught" "$failed" "$SECONDS"
    [ "$failed" = 0 ]
}

main "$@"
