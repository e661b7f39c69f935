#!/usr/bin/env bash
# Fuzzes everything that reads bytes from outside, guided by coverage.
#
#   tests/fuzz.sh [SECONDS [TARGET...]]      60 s each and all of them, unless said otherwise
#
# Begins with the corpus in tests/corpus/, which `cargo test` replays too, and keeps what it finds
# in target/fuzz/corpus/. An input that breaks something is left in target/fuzz/found/, and the
# command that replays it is printed; once it is mended, the input goes into tests/corpus/.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/fetch.sh
. tests/fetch.sh

CARGO_FUZZ=0.13.2
# Coverage needs unstable flags of the compiler, and no other compiler for them.
export RUSTC_BOOTSTRAP=1

cargo_fuzz() {
    local command=$1
    shift
    PATH=$PWD/target/tools/bin:$PATH cargo fuzz "$command" \
        --fuzz-dir tests/fuzz --target-dir target/fuzz "$@"
}

install_cargo_fuzz() {
    PATH=$PWD/target/tools/bin:$PATH cargo fuzz --version >/dev/null 2>&1 && return
    echo "installing cargo-fuzz $CARGO_FUZZ into target/tools"
    cargo install --quiet --locked --root target/tools cargo-fuzz --version $CARGO_FUZZ
}

fuzz() {
    local target=$1 seconds=$2
    mkdir -p "target/fuzz/corpus/$target" target/fuzz/found
    echo "$target: $(find "tests/corpus/$target" -type f | wc -l) inputs to begin with"
    cargo_fuzz run "$target" "target/fuzz/corpus/$target" "tests/corpus/$target" -- \
        "-max_total_time=$seconds" -max_len=16384 -print_final_stats=1 \
        "-artifact_prefix=$PWD/target/fuzz/found/$target-" >"target/fuzz/$target.log" 2>&1 || {
        tail -40 "target/fuzz/$target.log"
        fail "$target: broken, see target/fuzz/$target.log"
    }
    grep -E "^stat::(number_of_executed_units|peak_rss_mb)" "target/fuzz/$target.log"
}

main() {
    local seconds=${1:-60} target
    [ $# = 0 ] || shift
    need c++ g++
    install_cargo_fuzz
    cargo_fuzz build
    if [ $# = 0 ]; then
        for target in tests/fuzz/targets/*.rs; do
            target=${target##*/}
            set -- "$@" "${target%.rs}"
        done
    fi
    for target; do
        fuzz "$target" "$seconds"
    done
}

main "$@"
