# What the scripts here share. Sourced, not run. Messages go to stderr: stdout is for results.
# shellcheck shell=bash

# shellcheck disable=SC2034  # used by the scripts that source this file
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# What CMake looks for when it configures the library and the examples, and what the tests and benchmarks need beside it.
# shellcheck disable=SC2034
release_packages=(g++ cmake ninja-build pkg-config libhwy-dev librandom123-dev nlohmann-json3-dev
  libcli11-dev libfmt-dev zlib1g-dev libzip-dev libpng-dev libstb-dev libturbojpeg0-dev libexif-dev libcairo2-dev fonts-dejavu-core)
# shellcheck disable=SC2034
build_packages=("${release_packages[@]}" catch2 libbenchmark-dev libboost-context-dev)

say() { printf '%s\n' "$@" >&2; }

die() {
  say "$(basename "$0"): $*"
  exit 1
}

# missing_packages NAME...: prints those that are not installed, one a line.
missing_packages() {
  comm -23 <(printf '%s\n' "$@" | sort -u) \
    <(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "$@" 2>/dev/null | sed -n 's/^installed //p' | sort -u)
}

# ensure_packages LABEL NAME...: installs what is missing of these Debian packages. Returns 1 where it cannot.
ensure_packages() {
  local label=$1 missing as_root=()
  shift
  if ! command -v dpkg-query >/dev/null; then
    say "$label: not checked, this system has no dpkg; what is needed, by Debian's names: $*"
    return 0
  fi
  mapfile -t missing < <(missing_packages "$@")
  if ((${#missing[@]} == 0)); then
    say "$label: all present"
    return 0
  fi

  local arguments=(install -y --no-install-recommends "${missing[@]}")
  local by_hand="apt-get update && apt-get ${arguments[*]}"
  if ((EUID != 0)); then
    if ! command -v sudo >/dev/null || ! sudo true; then
      say "$label: some are missing, and installing them takes root or sudo. Run as root:" "  $by_hand"
      return 1
    fi
    as_root=(sudo)
  fi

  say "$label: installing ${missing[*]}"
  # A stale or broken third-party source must not stop what the other sources can install.
  "${as_root[@]}" apt-get update -q >&2 </dev/null ||
    say "$label: apt-get update failed, going on with the old lists"
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "${arguments[@]}" \
    >&2 </dev/null && return
  say "$label: could not be installed. To see why, run as root:" "  $by_hand"
  return 1
}

# build LABEL PRESET [CMAKE BUILD ARGS...]: configures and builds into build/PRESET.
build() {
  local label=$1 preset=$2
  shift 2
  say "$label: CMake preset $preset, into $root/build/$preset"
  (
    cd "$root" || exit
    cmake --preset "$preset" >/dev/null || exit # warnings and errors still come, on stderr
    cmake --build --preset "$preset" --parallel "$(nproc)" "$@" >&2
  )
}
