#!/usr/bin/env bash
# Installs what is missing, starts a private MariaDB, runs every test, and cleans up. Last line: how many passed.
#   ./test.sh           all tests
#   ./test.sh --all     also those that need Wine (installs 1.4 GB), a Galera cluster or minutes; ten minutes more
#   ./test.sh FILTER    only tests whose name contains FILTER (no scripts)
set -uo pipefail
cd "$(dirname "$0")"
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-auto}"
# Between the frames of a runtime nobody finds what a test said. TEST_BACKTRACE=1 for where it said so.
export RUST_BACKTRACE="${TEST_BACKTRACE:-0}"

scripts/setup.sh || { echo "0 passed, 1 failed"; exit 1; }
folder="$(mktemp -d /tmp/lab-ops-test.XXXXXX)"
cleanup() {
    local db
    # The servers of tests that were ended in the middle are among them.
    for db in "$folder"/db "$folder"/.tmp*/db; do scripts/test-mariadb.sh stop "$db" >/dev/null 2>&1; done
    rm -rf "$folder"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

TEST_MYSQL_URL="$(scripts/test-mariadb.sh start "$folder/db" | sed -n 's/^TEST_MYSQL_URL=//p')"
[ -n "$TEST_MYSQL_URL" ] || { echo "MariaDB did not start"; echo "0 passed, 1 failed"; exit 1; }
export TEST_MYSQL_URL REQUIRE_REAL=1
export INTEROP_PYTHON="${INTEROP_VENV:-$PWD/.cache/venv}/bin/python"
export TMPDIR="$folder"

passed=0
failed=0
count() { # what, exit code, its output: adds up the closing lines of nextest and of cargo test
    local p f
    p=$(grep -oE '[0-9]+ passed' "$3" | awk '{s+=$1} END {print s+0}')
    f=$(grep -oE '[0-9]+ (failed|timed out)' "$3" | awk '{s+=$1} END {print s+0}')
    if [ "$2" -ne 0 ] && [ "$f" -eq 0 ]; then f=1; fi
    passed=$((passed + p)); failed=$((failed + f))
    [ "$2" -eq 0 ] || echo "FAILED: $1"
}
remember() { # what, its output without colours: what the tests that failed said, and their names, for the last lines
    if grep -aqE '^ *Summary \[|^failures:$' "$2"; then
        awk '/^ *Summary \[/ || /^failures:$/ {on=1} on' "$2" | tail -n 3000
    else
        echo "$1" >>"$folder/names"
        tail -n 60 "$2"
    fi >>"$folder/failures"
    sed -nE 's/^ *(TRY [0-9]+ )?(FAIL|TIMEOUT|ABORT|SIG[A-Z]+|XFAIL|LEAK-FAIL) +\[[^]]*\] +(\([^)]*\) +)?//p
        s/^test (.*) \.\.\. FAILED$/\1/p' "$2" >>"$folder/names"
}
run() { # what, command...
    local what="$1" out="$folder/out.$RANDOM"; shift
    echo "== $what"
    "$@" 2>&1 | tee "$out.all"
    local code="${PIPESTATUS[0]}"
    # nextest closes with "Summary", cargo test with "test result"; what a shown test itself said of that is indented
    sed 's/\x1b\[[0-9;]*m//g' "$out.all" >"$out.plain"
    grep -aE '^ *Summary \[|^test result' "$out.plain" >"$out"
    count "$what" "$code" "$out"
    [ "$code" -eq 0 ] || remember "$what" "$out.plain"
}
single() { # a check that is one test by itself
    local what="$1"; shift
    echo "== $what"
    if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "$what" >>"$folder/names"; fi
}

all=no
if [ "${1:-}" = "--all" ]; then all=yes; shift; fi
filter=("$@")
if cargo nextest --version >/dev/null 2>&1; then
    run "tests" cargo nextest run --workspace --locked --no-fail-fast "${filter[@]}"
else
    run "tests" cargo test --workspace --locked --lib --bins --tests --no-fail-fast -- "${filter[@]}"
fi
if [ "${#filter[@]}" -eq 0 ]; then
    # The services have Kerberos by default, so its tests ran with the others; these are of builds without it.
    if cargo nextest --version >/dev/null 2>&1; then
        run "tests without Kerberos" cargo nextest run --locked -p winrm-transport -p station-control \
            --no-default-features without_the_feature
    else
        run "tests without Kerberos" cargo test --locked -p winrm-transport -p station-control \
            --no-default-features --lib --tests without_the_feature
    fi
    if cargo nextest --version >/dev/null 2>&1; then
        run "planted faults are caught" cargo nextest run --locked -p lab-days -p reservation-engine \
            --features lab-days/mutants mutants --success-output immediate
    else
        run "planted faults are caught" cargo test --locked -p lab-days -p reservation-engine \
            --features lab-days/mutants --lib --tests mutants
    fi
    run "examples in the documentation" cargo test --workspace --locked --doc
    single "direction of dependencies" scripts/check-dependencies.sh
    single "alert rules" promtool test rules deploy/prometheus/tests/alerts_test.yml
fi
if [ "$all" = yes ]; then
    run "quoting, read by the parsers of Windows under Wine" scripts/wine-oracle.sh
    run "claims on a cluster of three nodes" scripts/test-galera.sh run
    if cargo nextest --version >/dev/null 2>&1; then
        run "schedulers killed, stopped and cut off" cargo nextest run --locked -p ops-scheduler \
            --run-ignored ignored-only --test-threads 3 --no-fail-fast --success-output immediate
    else
        run "schedulers killed, stopped and cut off" cargo test --locked -p ops-scheduler --test it -- \
            --ignored --nocapture --test-threads 3
    fi
fi
if [ "$failed" -gt 0 ]; then
    echo "== what failed"
    cat "$folder/failures" 2>/dev/null
    echo "== failed:"
    sort -u "$folder/names" 2>/dev/null
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
