#!/usr/bin/env bash
# Measure Busway beside busrt and other buses, end to end: builds what is needed and calls benches/versus.
# `tools/versus.sh --help` tells the rest.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
TARGET=${CARGO_TARGET_DIR:-$PWD/target}
[[ $TARGET = /* ]] || TARGET=$PWD/$TARGET
export CARGO_TARGET_DIR=$TARGET

usage() {
  cat <<'HELP'
usage: tools/versus.sh [--quick] [COMMAND] [OPTIONS]

Measures Busway beside busrt, and beside what tools/install-rivals has built: compare (the default), tails, scale,
system-calls, all, report. Builds first, for some minutes; then --help tells every option.
HELP
}

say() { echo "versus.sh: $*" >&2; }
die() {
  say "$*"
  exit 1
}

# What tools/install-rivals has built before.
rivals() { cat "$TARGET/versus-rivals" 2>/dev/null || true; }

main() {
  # Before anything is built for it.
  case "${1:-}" in
  -h | --help)
    if [[ -x $TARGET/release/versus ]]; then exec "$TARGET/release/versus" --help; fi
    usage
    return
    ;;
  esac
  # Optimised, as ours is, whatever the tests are content with.
  [[ -x $TARGET/reference/bin/busrtd ]] || BUSWAY_REFERENCE_PROFILE=release tools/test --install >&2 ||
    die "busrtd could not be installed: see above"
  cargo build --quiet --release --features server --bin buswayd || die "buswayd could not be built: see above"
  cargo build --quiet --release --manifest-path benches/versus/Cargo.toml --features "$(rivals)" ||
    die "benches/versus could not be built: see above"
  [[ -s $TARGET/versus-rivals ]] || say "only busrt is a rival; tools/install-rivals adds iceoryx2, zenoh and others"
  exec "$TARGET/release/versus" "$@"
}

main "$@"
