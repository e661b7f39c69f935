#!/usr/bin/env bash
# Sets up what is missing on a fresh Debian 12 and runs the tests.
#
#   tests/run.sh             every feature once, against both NATS servers
#   tests/run.sh --all       and what takes longer: the C programs under valgrind, thousands of
#                            simulated clusters, each feature alone, other platforms' code, every
#                            interleaving, races, the oldest Rust, the package
#   tests/run.sh --long      and three minutes of random faults, that the simulator finds each
#                            broken rule, and fuzzing
#   tests/run.sh --servers   only fetches the servers and what tests need beside them, into target/
#
# LEASEHOLD_NATS_OLDEST and LEASEHOLD_NATS_NEWEST may name servers of your own; their versions must
# be those named in fetch.sh. LEASEHOLD_POSTGRES_BIN may name the folder with PostgreSQL's programs,
# and LEASEHOLD_SQLITE the program sqlite3. A second run downloads nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/fetch.sh
. tests/fetch.sh

current=
everything=false

on_exit() {
    local status=$?
    clean_up
    [ $status = 0 ] || echo "tests/run.sh: FAILED${current:+ in \"$current\"}"
}
trap on_exit EXIT

# section NAME COMMAND...: a heading, the command, and how long it took.
section() {
    local start=$SECONDS
    current=$1
    shift
    printf '\n=== %s\n' "$current"
    "$@"
    printf -- '--- %s: %d s\n' "$current" $((SECONDS - start))
    current=
}

install_tools() {
    need cargo cargo-web rustc rustc-web cc gcc git git python3 python3 setpriv util-linux \
        patch patch unshare util-linux nsenter util-linux chrt util-linux mount mount ip iproute2 \
        g++ g++ make make cmake cmake pkg-config pkg-config valgrind valgrind readelf binutils
}

# Every test, also after one has failed; in the end, what failed and how to run just that again.
# Most tests wait rather than compute, so many of them run at once.
run_tests() {
    local log=target/tests.log status=0 waiting=() file
    for file in tests/*.rs tests/*/main.rs; do
        file=${file#tests/} file=${file%%[./]*}
        case $file in simulation | exhaustive) ;; *) waiting+=(--test "$file") ;; esac
    done
    : >"$log"
    cargo build --locked --all-features --examples
    test_some "$log" $(($(nproc) > 8 ? $(nproc) : 8)) --lib --bins "${waiting[@]}" \
        -- --skip valgrind:: || status=1
    ! $everything || test_some "$log" 2 --test capi valgrind:: || status=1
    test_some "$log" "$(nproc)" --config profile.dev.package.leasehold.opt-level=2 \
        --test simulation --test exhaustive || status=1
    test_some "$log" "$(nproc)" --doc || status=1
    [ $status = 0 ] || failures "$log"
    return $status
}

# What a transport can break, with the `nats` crate in place of `direct`. A build of its own: there
# `auto` chooses the crate.
run_nats_client_tests() {
    local log=target/nats-client.log tests=(--test nats --test store) status=0
    ! $everything || tests+=(--test cli --test fault_matrix --test hostile --test manager --test node)
    : >"$log"
    export RUSTFLAGS="--cfg leasehold_nats_client" CARGO_TARGET_DIR=target/nats-client
    ! $everything || cargo build --locked --all-features --examples
    test_some "$log" $(($(nproc) > 8 ? $(nproc) : 8)) "${tests[@]}" || status=1
    [ $status = 0 ] || failures "$log"
    unset RUSTFLAGS CARGO_TARGET_DIR
    return $status
}

# test_some LOG THREADS ARGUMENTS...: runs cargo test with so many tests at once.
test_some() {
    local log=$1 threads=$2
    shift 2
    RUST_TEST_THREADS=$threads cargo test --locked --all-features --no-fail-fast "$@" 2>&1 |
        tee -a "$log"
}

# failures LOG: the commands that run again what failed by this log of cargo test.
failures() {
    printf '\nFailed. To run just that again, after\n'
    printf '    %s\n' \
        "export LEASEHOLD_NATS_OLDEST=$LEASEHOLD_NATS_OLDEST" \
        "export LEASEHOLD_NATS_NEWEST=$LEASEHOLD_NATS_NEWEST" \
        ${RUSTFLAGS+"export RUSTFLAGS='$RUSTFLAGS' CARGO_TARGET_DIR=$CARGO_TARGET_DIR"}
    awk '
        function again(what) { print "    cargo test --locked --all-features " what }
        /^ +Running unittests src\/lib/ { target = "--lib" }
        /^ +Running unittests src\/bin/ { target = "--bin leasehold" }
        sub(/^ +Running tests\//, "") { sub(/[.\/].*/, ""); target = "--test " $0 }
        /^ +Doc-tests / { target = "--doc" }
        /^test .* FAILED$/ && target != "--doc" { known[target]; again(target " -- --exact " $2) }
        /^error: could not compile/ { again("--no-run") }
        # What cargo names at its end: a target that crashed has no test that failed.
        /^ +`-.*`$/ { gsub(/^ +`|`$/, ""); if (!($0 in known)) again($0) }
    ' "$1"
}

features() {
    cargo metadata --locked --no-deps --format-version 1 |
        python3 -c 'import json, sys; print(*json.load(sys.stdin)["packages"][0]["features"])'
}

each_feature_alone() {
    local feature all
    all=$(features)
    cargo clippy --locked --quiet --no-default-features -- -D warnings
    echo "none: ok"
    for feature in $all; do
        cargo clippy --locked --quiet --no-default-features --features "$feature" -- -D warnings
        echo "$feature: ok"
    done
}

# The branches for systems without the Linux clock and sockets, compiled on Linux. Only the library
# itself is told, so that its dependencies need not be built again.
portable() {
    cargo rustc --locked --lib --all-features --profile check -- \
        --cfg leasehold_portable -D warnings
}

oldest_rust() {
    fetch_msrv
    RUSTC=$PWD/target/msrv/usr/bin/rustc LD_LIBRARY_PATH=$(msrv_libraries) \
        cargo check --locked --all-features --target-dir target/msrv/target
}

# Every interleaving of what threads share without a lock, by a model checker that replaces the
# atomics; hence a build of its own.
interleavings() {
    RUSTFLAGS="--cfg leasehold_loom" CARGO_TARGET_DIR=target/loom \
        cargo test --locked --release --lib explored
}

# Every access to what threads share, watched: a race is a failure, and a planted one is found.
# Rust's library is built with the sanitizer too, which would else not see what its locks order.
races() {
    local host
    fetch_sanitizer
    host=$(msrv_rustc -vV | sed -n 's/^host: //p')
    RUSTC=$PWD/target/msrv/usr/bin/rustc LD_LIBRARY_PATH=$(msrv_libraries) RUSTC_BOOTSTRAP=1 \
        RUSTFLAGS="-Zsanitizer=thread --cfg leasehold_tsan" \
        TSAN_OPTIONS="external_symbolizer_path=$(type -P addr2line)" \
        CARGO_TARGET_DIR=target/races CARGO_PROFILE_DEV_DEBUG=line-tables-only \
        cargo test --locked -Zbuild-std --target "$host" --features capi --test node races::
}

# The simulator as fast as it can: ten times the seeds of the plain tests.
simulation() {
    cargo test --locked --release --test simulation -- --nocapture
}

# What is published contains all it needs.
package() {
    local dirty=()
    [ -z "$(git status --porcelain 2>&1)" ] || dirty=(--allow-dirty)
    cargo package --locked --all-features "${dirty[@]}"
}

# The command of the README that installs `leasehold`.
install() {
    export CARGO_INSTALL_ROOT=$PWD/target/install
    cargo install --locked --path . --no-default-features --features cli,vip
    target/install/bin/leasehold version
}

# Another seed each time; the first line tells which.
soak() {
    local servers
    cargo build --locked --release --example soak
    for servers in "--server 2.9.10" "--server 2.15.1" --cluster; do
        # shellcheck disable=SC2086 # two words
        target/release/examples/soak --minutes 1 $servers
    done
}

run_all() {
    section "Simulation" simulation
    section "Features: none, and each alone" each_feature_alone
    section "Portable code" portable
    section "Interleavings" interleavings
    section "Races" races
    section "Rust $MSRV" oldest_rust
    section "Package" package
    section "Install" install
}

run_long() {
    section "Soak" soak
    section "Mutants" tests/mutants/run.sh
    section "Fuzzing" tests/fuzz.sh
}

main() {
    [ $# -le 1 ] || fail "one option at most"
    case ${1:-} in
        "" | --all | --long | --servers) ;;
        *) fail "unknown option $1: --all, --long or --servers" ;;
    esac
    case ${1:-} in --all | --long) everything=true ;; esac
    section "Servers" fetch_servers
    section "Wall clock" fetch_faketime
    section "Python client" fetch_peer
    section "Databases" fetch_databases
    [ "${1:-}" != --servers ] || return 0
    section "Tools" install_tools
    section "Tests" run_tests
    section "Tests with the nats crate" run_nats_client_tests
    ! $everything || run_all
    [ "${1:-}" != --long ] || run_long
    printf '\ntests/run.sh: all passed in %d s\n' "$SECONDS"
}

main "$@"
