#!/usr/bin/env bash
# Installs what is missing (Debian and its kin), builds, and does one job: demo, test or build.
set -euo pipefail
cd "$(dirname "$0")"

usage() {
  cat <<'EOF'
usage: ./setup.sh build|demo|test

  build   install the missing packages and build everything into build/
  demo    build, then rotate a certificate across a simulated fleet while viewers keep connecting
  test    build, then run every test; ends with "N passed, N failed"

CERTROTATE_NO_INSTALL=1 only names missing packages and stops.
EOF
}

# Debian package names. luajit2 is OpenResty's branch of LuaJIT: the only one nginx's Lua module can live beside.
packages_build=(build-essential cmake pkg-config lua5.4 liblua5.4-dev luajit2 libluajit2-5.1-dev
  libcurl4-openssl-dev libssl-dev libexpat1-dev lua-cjson lua-argparse ca-certificates)
packages_demo=(nginx-light libnginx-mod-http-lua openssl)
packages_test=(lua5.1 liblua5.1-0-dev lua5.2 liblua5.2-dev lua5.3 liblua5.3-dev lua-busted lua-check luarocks lua-filesystem
  lua-luv neovim tmux awscli python3-boto3 python3-botocore python3-jsonschema certbot pebble binutils git zsh fish mandoc
  chromium)

die() {
  printf 'setup.sh: %s\n' "$*" >&2
  exit 1
}

missing_packages() {
  local package
  for package in "$@"; do
    dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q '^install ok installed' || printf '%s\n' "$package"
  done
}

install_packages() {
  if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    local have=1 tool
    for tool in cmake cc pkg-config; do command -v "$tool" >/dev/null || have=0; done
    if [ "$have" = 1 ] && pkg-config --exists libcurl openssl expat; then
      printf 'setup.sh: no apt here; going on with what is installed\n' >&2
      return
    fi
    die "no apt here. Install the equivalents of these Debian packages, then run this again: $*"
  fi
  local missing
  mapfile -t missing < <(missing_packages "$@")
  [ "${#missing[@]}" -gt 0 ] || return 0
  [ "${CERTROTATE_NO_INSTALL:-}" != 1 ] || die "missing packages: ${missing[*]}"
  local root=()
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || die "missing packages: ${missing[*]} (run as root, or install sudo)"
    root=(sudo)
  fi
  printf 'Installing: %s\n' "${missing[*]}"
  local log
  log=$(mktemp)
  if ! { "${root[@]}" apt-get update -q &&
         "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"; } \
       >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    die "the packages could not be installed; see above"
  fi
  rm -f "$log"
}

build() {
  local preset=$1 log
  log=$(mktemp)
  if ! { cmake --preset "$preset" && cmake --build --preset "$preset" -j "$(nproc)"; } >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    rm -f "$log"
    die "the build failed; see above"
  fi
  grep -E '^-- certrotate:' "$log" | sed 's/^-- //' || true
  rm -f "$log"
}

case "${1:-}" in
  build)
    install_packages "${packages_build[@]}"
    build default
    echo "Built. Try: build/bin/certrotate --help"
    ;;
  demo)
    install_packages "${packages_build[@]}" "${packages_demo[@]}"
    build demo
    shift
    exec build/bin/certrotate demo "$@"
    ;;
  test)
    install_packages "${packages_build[@]}" "${packages_demo[@]}" "${packages_test[@]}"
    build test
    shift
    exec spec/run "$@"
    ;;
  -h | --help | help)
    usage
    ;;
  *)
    usage >&2
    exit 2
    ;;
esac
