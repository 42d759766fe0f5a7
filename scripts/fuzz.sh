#!/usr/bin/env bash
# Coverage-guided fuzzing of winrm-transport on the stable toolchain. Needs a C++ compiler.
#   scripts/fuzz.sh                     60 s of every target
#   scripts/fuzz.sh TARGET [SECONDS]    one target (soap ntlm spnego sealed clixml quoting
#                                       www_authenticate kerberos)
#   scripts/fuzz.sh --minimise [TARGET] folds what was found into the committed corpora
# New inputs go to .cache/fuzz/TARGET, findings to .cache/fuzz/findings; the committed corpora are only read.
set -euo pipefail
cd "$(dirname "$0")/.."
crate=crates/winrm-transport/fuzz
targets=(soap ntlm spnego sealed clixml quoting www_authenticate kerberos)
work="${FUZZ_WORK:-$PWD/.cache/fuzz}"
out="${FUZZ_TARGET_DIR:-$PWD/target/fuzz}"
most=36 # found inputs kept of each target
triple="$(rustc -vV | sed -n 's/^host: //p')"

command -v g++ >/dev/null || { echo "fuzz.sh: needs g++"; exit 1; }
minimise=no
if [ "${1:-}" = "--minimise" ]; then minimise=yes; shift; fi
if [ $# -gt 0 ]; then
    [[ " ${targets[*]} " == *" $1 "* ]] || { echo "fuzz.sh: no target $1, only ${targets[*]}"; exit 1; }
    targets=("$1")
fi
seconds="${2:-60}"
[[ "$seconds" =~ ^[0-9]+$ ]] || { echo "fuzz.sh: not a number of seconds: $seconds"; exit 1; }

# With --target, build scripts and macros are built without these flags.
flags=(--cfg fuzzing -Cpasses=sancov-module)
for flag in level=4 inline-8bit-counters pc-table trace-compares; do
    flags+=("-Cllvm-args=-sanitizer-coverage-$flag")
done
RUSTFLAGS="${flags[*]}" cargo build --quiet --release --manifest-path "$crate/Cargo.toml" \
    --target "$triple" --target-dir "$out"
bin="$out/$triple/release"

for target in "${targets[@]}"; do
    seeds="$crate/corpus/$target"
    mkdir -p "$work/$target" "$work/findings/$target" "$seeds"
    dictionary=()
    [ -f "$crate/dictionaries/$target" ] && dictionary=("-dict=$crate/dictionaries/$target")
    if [ "$minimise" = yes ]; then
        smallest="$(mktemp -d "$work/merge.XXXXXX")"
        # Files with the hash of their content for a name were found; others were written by hand and stay.
        find "$seeds" -type f -regextype posix-extended -regex '.*/[0-9a-f]{40}' -exec mv -t "$work/$target" {} +
        "$bin/$target" -set_cover_merge=1 -use_counters=0 -max_len=4096 "$smallest" "$seeds" "$work/$target" \
            >"$work/merge.log" 2>&1 || { tail -n 5 "$work/merge.log"; exit 1; }
        for seed in "$seeds"/*; do rm -f "$smallest/$(sha1sum <"$seed" | cut -d' ' -f1)"; done
        # What covers most is long, but short files say why they are there: some of every size.
        find "$smallest" -type f -printf '%s %p\n' | sort -n | cut -d' ' -f2 |
            awk -v most="$most" '{ file[NR] = $0 } END {
                for (n = 0; n < most && n < NR; n++) print file[NR <= most ? n + 1 : int(n * NR / most) + 1] }' |
            xargs -r cp -t "$seeds"
        echo "$target: $(find "$seeds" -type f | wc -l) files"
        rm -rf "$smallest"
    else
        nice -n 10 "$bin/$target" -max_total_time="$seconds" -max_len=8192 -timeout=10 -rss_limit_mb=1024 \
            -print_final_stats=1 -artifact_prefix="$work/findings/$target/" "${dictionary[@]}" \
            "$work/$target" "$seeds"
    fi
done
