# Shared by the scripts beside it: where things are, who may do what. Sourced, not run.
#
# Reads from the environment
#   PG_CONFIG       pg_config of the server to build for and run (default: Debian's PostgreSQL 15)
#   OROCHI_RUN_DIR  where servers keep their data while they run (default: .build/run, or a directory
#                   in /tmp when the server's user cannot reach the checkout)
set -euo pipefail

debian_pg_config=/usr/lib/postgresql/15/bin/pg_config
PG_CONFIG=${PG_CONFIG:-$debian_pg_config}
case $PG_CONFIG in
  */*) PG_CONFIG=$(realpath -sm "$PG_CONFIG") ;;
  *) PG_CONFIG=$(command -v "$PG_CONFIG" || echo "$PG_CONFIG") ;;
esac
export PG_CONFIG
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$checkout"
build=$checkout/.build
export PGRX_HOME=$build/pgrx
export PATH=$build/tools/bin:$PATH
export USER=${USER:-$(id -un)}
# cargo-pgrx would pass its own linker flags for the extension alone, and every dependency would be
# compiled twice. build.rs passes the same flags to the one link that needs them.
export CARGO_PGRX_DISABLE_GC_SECTIONS_WORKAROUND=1
# There are no examples; but a build that could contain some selects the features of the dependencies
# as a build of the tests does, so that both share what is compiled.
export PGRX_BUILD_FLAGS=--examples

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

is_root() { [ "$(id -u)" = 0 ]; }

# Runs a command as root.
as_root() {
  if is_root; then "$@"; else sudo "$@"; fi
}

# The user PostgreSQL runs as: it refuses to run as root.
server_user() {
  if is_root; then echo postgres; else id -un; fi
}

# Runs a command as the server's user, who may not be allowed to enter the checkout.
as_server() {
  if is_root; then (cd / && runuser -u postgres -- "$@"); else "$@"; fi
}

pg_major() {
  [ -x "$1" ] || die "$1 is not there: PG_CONFIG has to name the pg_config of a PostgreSQL with server headers"
  "$1" --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/'
}

# A directory that the server's user can reach, and that is ours. A path in /tmp is guessable: one
# that somebody else made first is refused.
run_dir() {
  local dir=${OROCHI_RUN_DIR:-}
  if [ -z "$dir" ]; then
    dir=$build/run
    mkdir -p "$dir"
    # A socket's path may have 107 bytes.
    if [ ${#dir} -gt 70 ] || ! as_server test -x "$dir" 2>/dev/null; then
      dir=/tmp/orochi-$(id -u)-$(cksum <<< "$checkout" | cut -d ' ' -f 1)
    fi
  fi
  mkdir -p -m 755 "$dir"
  [ -O "$dir" ] || die "$dir belongs to somebody else; set OROCHI_RUN_DIR"
  as_server test -x "$dir" || die "the user $(server_user) cannot reach $dir; set OROCHI_RUN_DIR"
  echo "$dir"
}

# Where files with data are kept that servers read: .build/data, unless the server's user cannot reach it.
data_dir() {
  local dir=${OROCHI_DATA_DIR:-$build/data}
  mkdir -p "$dir"
  as_server test -x "$dir" 2>/dev/null || dir=$(run_dir)/data
  mkdir -p "$dir"
  echo "$dir"
}

# The pg_config to run a server with: the given one, or one of a copy of its installation when the
# server's user cannot reach it.
reachable_pg_config() {
  local config=$1 prefix copy
  if as_server test -x "$config" 2>/dev/null; then echo "$config"; return; fi
  prefix=$(cd "$(dirname "$config")/.." && pwd)
  copy=$(run_dir)/$(basename "$prefix")
  if [ ! -e "$copy/.complete" ] || [ "$config" -nt "$copy/.complete" ]; then
    rm -rf "$copy"
    cp -a "$prefix" "$copy"
    touch "$copy/.complete"
  fi
  as_server "$copy/bin/postgres" --version > /dev/null || die "the copy of $prefix in $copy does not run"
  echo "$copy/bin/pg_config"
}

# An empty directory that the server's user owns.
server_dir() {
  rm -rf "$1"
  mkdir -p -m 700 "$1"
  if is_root; then chown postgres: "$1"; fi
}
