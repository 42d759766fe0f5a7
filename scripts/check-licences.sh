#!/usr/bin/env bash
# Licences, bans and sources by cargo-deny; advisories too where their database is at hand (ADVISORY_DB=folder).
set -euo pipefail
cd "$(dirname "$0")/.."
if ! cargo deny --version >/dev/null 2>&1; then
    echo "installing: cargo-deny"
    # A folder of its own: the workspace's target folder is not the place for a tool's build.
    build="$(mktemp -d)"
    trap 'rm -rf "$build"' EXIT
    CARGO_TARGET_DIR="$build" CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
        cargo install --quiet --locked cargo-deny --version '^0.20'
fi
if [ -n "${ADVISORY_DB:-}" ]; then
    cargo deny --locked check --disable-fetch advisories licenses bans sources
else
    echo "advisories are not looked at: ADVISORY_DB names no copy of their database"
    cargo deny --locked check licenses bans sources
fi
