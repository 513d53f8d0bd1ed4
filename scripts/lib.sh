# shellcheck shell=bash
# What the scripts share: installing what is missing, saying so.

say() { printf '%s\n' "== $*"; }

die() {
    printf '%s\n' "$0: $*" >&2
    exit 1
}

# The repository's top, from wherever a script is called.
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Tools that are installed for the scripts alone.
# shellcheck disable=SC2034 # read by the scripts that source this one
tools="$top/target/tools"
# The public Python client has an environment of its own.
venv="$top/target/python"

# Whatever else is set on this machine: what is built is below target/, programs
# of the administrator are found, and all speak the language that is read here.
export CARGO_TARGET_DIR="$top/target" LC_ALL=C.UTF-8 PATH="$PATH:/usr/sbin:/sbin"
unset CARGO_BUILD_TARGET

# need_packages PACKAGE=PROGRAM_OR_FILE ... : installs Debian packages whose
# program or file is not there.
need_packages() {
    local missing=() pair package probe
    for pair in "$@"; do
        package=${pair%%=*}
        probe=${pair#*=}
        if ! command -v "$probe" >/dev/null && [ ! -e "$probe" ]; then
            missing+=("$package")
        fi
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        die "missing: ${missing[*]}. As root: apt-get install ${missing[*]}"
    fi
    say "installing ${missing[*]} with apt-get"
    # A source of packages that is gone may not be one of theirs.
    apt-get update -qq || true
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o DPkg::Lock::Timeout=300 "${missing[@]}" >/dev/null
}

# What the build itself needs: OpenSSL's headers and the way to find them.
need_build() {
    command -v cargo >/dev/null || die "Rust is missing: see https://rustup.rs"
    need_packages libssl-dev=/usr/include/openssl/ssl.h pkg-config=pkg-config gcc=gcc
}

# Where build_programs leaves tfd, tf, tf-backup and bbftp.
# shellcheck disable=SC2034 # read by the scripts that source this one
case "${TFD_BUILD-release}" in
    dev) built="$top/target/debug" ;;
    quick) built="$top/target/quick" ;;
    *) built="$top/target/release" ;;
esac

# The programs as users get them; with TFD_BUILD=quick less optimised, with dev those
# that the tests run.
build_programs() {
    need_build
    say "building the programs"
    case "${TFD_BUILD-release}" in
        dev) cargo test --quiet --locked --features backup --no-run ;;
        quick) cargo build --quiet --locked --profile quick --features backup --bins ;;
        *) cargo build --quiet --locked --release --features backup --bins ;;
    esac
}

# test_program NAME : where cargo has put a test program.
test_program() {
    cargo test --features backup --no-run --test "$1" 2>&1 | sed -n 's/.*(\(.*\))$/\1/p'
}

# strip_programs DIRECTORY TEST ... : tfd, tf and test programs, made small, since an
# emulated processor has to load them.
strip_programs() {
    local to=$1 name
    shift
    mkdir -p "$to"
    for name in tfd tf; do
        strip -o "$to/$name" "target/debug/$name" || return 1
    done
    for name in "$@"; do
        strip -o "$to/$name" "$(test_program "$name")" || return 1
    done
}

# The completions of all programs for all shells, into target/completions.
make_completions() {
    local shell program
    mkdir -p target/completions
    for shell in bash zsh fish; do
        for program in tfd tf; do
            "$built/$program" completions "$shell" >"target/completions/$program.$shell"
        done
        "$built/bbftp" --completions "$shell" >"target/completions/bbftp.$shell"
    done
}

# packaged_files : each file of the Debian package with its place and mode, from
# the list in Cargo.toml, its patterns replaced by the files they match.
packaged_files() {
    local from to mode file
    sed -n '/^assets = \[/,/^\]/s/^ *\["\(.*\)", "\(.*\)", "\(.*\)"\],$/\1 \2 \3/p' Cargo.toml |
        while read -r from to mode; do
            for file in $from; do
                case "$to" in
                    */) printf '%s\n' "$file $to${file##*/} $mode" ;;
                    *) printf '%s\n' "$file $to $mode" ;;
                esac
            done
        done
}

# The public Python client, in an environment below target/.
need_python_client() {
    if [ -x "$venv/bin/python" ] && "$venv/bin/python" -c 'import tfprotocol_client' 2>/dev/null; then
        return 0
    fi
    command -v python3 >/dev/null || need_packages python3=python3
    say "installing the public Python client (tfprotocol-client 1.2.2) into ${venv#"$top"/}"
    if ! python3 -m venv "$venv" 2>/dev/null; then
        need_packages python3-venv=/nonexistent
        python3 -m venv --clear "$venv"
    fi
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check 'tfprotocol-client==1.2.2'
}
