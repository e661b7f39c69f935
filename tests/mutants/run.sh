#!/usr/bin/env bash
# Breaks the rules of the election one by one, and has the simulator find each.
#
#   tests/mutants/run.sh             every mutant
#   tests/mutants/run.sh NAME...     these
#
# A mutant is a patch in this folder: what it breaks, the promise that must be found broken, and the
# change. It is applied to a copy of the source under target/mutants; the copy is cut down to what
# the election stands on, so that it builds in seconds. A mutant that survives MUTANT_SEEDS seeds
# (default 20000) is a failure, and so is one that no longer applies or compiles, or that is caught
# by anything but the promise it names.
#
#   tests/mutants/run.sh --tree      lays such a copy out, and prints where
#
# There cargo-mutants breaks what nobody thought of, expression by expression, for the unit tests to
# notice; 800 mutants take 20 minutes. What they miss should be of no consequence, or for the
# simulator to find: `mutants.out/diff` has the patches.
#
#   cd "$(tests/mutants/run.sh --tree)" && cargo mutants --baseline=skip --timeout=30 --jobs=2 \
#       --cargo-test-arg=--lib --file=src/election.rs --file='src/election/*.rs' \
#       --file=src/lease.rs --file=src/leadership.rs --file=src/timing.rs
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
tree=$root/target/mutants/tree
seeds=${MUTANT_SEEDS:-20000}
kept="clock|election|error|event|leadership|lease|store|sys|timing|wait"
export CARGO_TARGET_DIR=$root/target/mutants/build CARGO_INCREMENTAL=1

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
END
    grep -E '^(crossbeam-channel|parking_lot|rustix|serde|serde_json|thiserror|time) = ' \
        Cargo.toml | awk '!seen[$1]++'
}

# The source as it is, without what is not needed.
lay_out() {
    rm -rf "$tree"
    mkdir -p "$tree/tests"
    cp -r src "$tree/src"
    cp -r tests/simulation tests/simulation.rs "$tree/tests/"
    cp Cargo.lock "$tree/"
    manifest >"$tree/Cargo.toml"
    rm -r "$tree/src/bin"
    grep -E "^(pub )?mod ($kept);" src/lib.rs >"$tree/src/lib.rs"
    sed -i '/^pub mod nats;/d' "$tree/src/store.rs"
}

# The same without what needs more than the copy has: the simulator, and forked processes.
lay_out_bare() {
    tree=$root/target/mutants/bare
    lay_out
    rm -r "$tree/tests"
    sed -i '/^#\[cfg(all(test, target_os = "linux"/,/^mod fork_tests;/d' "$tree/src/sys.rs"
    echo "$tree"
}

# The simulator of the copy, built; prints its path.
build() {
    (cd "$tree" && cargo test --quiet --offline --test simulation --no-run \
        --message-format=json 2>"$tree/build.log") |
        sed -n 's/.*"executable":"\([^"]*\)".*/\1/p'
}

# The files that a patch changes, as they were, and newer than what was built from them.
restore() {
    local file
    for file in $(sed -n 's#^+++ b/##p' "$1"); do
        cp "$root/$file" "$tree/$file"
        [ "$file" != src/store.rs ] || sed -i '/^pub mod nats;/d' "$tree/$file"
    done
}

# try PATCH: sets `result` and `after`.
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
    output=$(LEASEHOLD_RULE=$rule LEASEHOLD_SEEDS=$seeds "$simulator" 2>&1) || true
    after=$(sed -n 's/^\([0-9]*\) seeds, .*/\1/p' <<<"$output" | head -n 1)
    if ! grep -q "^seed [0-9]*: $rule: " <<<"$output"; then
        result=SURVIVES
        return 1
    fi
    result=caught
}

main() {
    local patch name rule simulator result after=- caught=0 failed=0 patches=()
    if [ "${1-}" = --tree ]; then
        lay_out_bare
        return
    fi
    if [ $# -gt 0 ]; then
        for name in "$@"; do patches+=("tests/mutants/$name.patch"); done
    else
        patches=(tests/mutants/*.patch)
    fi
    lay_out
    simulator=$(build)
    LEASEHOLD_SEEDS=200 "$simulator" >/dev/null 2>&1 ||
        { echo "the simulator finds fault with the source as it is"; exit 1; }
    printf '%-6s %-44s %-18s %s\n' rule mutant result seeds
    for patch in "${patches[@]}"; do
        name=$(basename "$patch" .patch)
        rule=$(sed -n 's/^Caught by \([IL][0-9]*\)\.$/\1/p' "$patch")
        result="NAMES NO PROMISE"
        if [ -n "$rule" ] && try "$patch" "$rule"; then
            caught=$((caught + 1))
        else
            failed=$((failed + 1))
        fi
        printf '%-6s %-44s %-18s %s\n' "$rule" "$name" "$result" "$after"
        lay_back "$patch"
    done
    printf '%d mutants caught, %d not, in %d s\n' "$caught" "$failed" "$SECONDS"
    [ "$failed" = 0 ]
}

# Also what a patch left behind that did not apply as a whole.
lay_back() {
    restore "$1"
    find "$tree" -name '*.orig' -o -name '*.rej' | xargs -r rm
}

main "$@"
