#!/usr/bin/env bash
# Asks the real command line parsers of Windows, under Wine, about our quoting. Installs Wine and a cross compiler
# (about 1.4 GB) where they are missing; the Wine prefix (700 MB) is temporary.
#   scripts/wine-oracle.sh            checks
#   scripts/wine-oracle.sh record     checks, and writes the recorded table anew
set -euo pipefail
cd "$(dirname "$0")/.."

packages=()
command -v wine >/dev/null || packages+=(wine wine64)
command -v x86_64-w64-mingw32-gcc >/dev/null || packages+=(gcc-mingw-w64-x86-64)
if [ "${#packages[@]}" -gt 0 ]; then
    echo "installing: ${packages[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi
export WINE_ORACLE="${1:-1}"
if cargo nextest --version >/dev/null 2>&1; then
    exec cargo nextest run --locked -p winrm-transport --test it wine_reads_what_was_quoted
fi
exec cargo test --locked -p winrm-transport --test it wine_reads_what_was_quoted
