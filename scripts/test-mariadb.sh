#!/usr/bin/env bash
# A private MariaDB for tests: its own folder, socket, port and pid file; nothing of the system is touched.
#
#   scripts/test-mariadb.sh start [folder]   starts one and prints TEST_MYSQL_URL=... and TEST_MYSQL_DIR=...
#   scripts/test-mariadb.sh stop <folder>    stops it by its pid file and removes the folder
#
# Needs mariadbd, mariadb-install-db and mariadb (Debian: mariadb-server-core, mariadb-client-core).
# The server's own zone is five hours west of UTC on purpose: whoever forgets the session's zone fails a test.
set -euo pipefail

marker=.lab-ops-test-mariadb

die() {
    echo "test-mariadb: $*" >&2
    exit 1
}

is_up() { mariadb --no-defaults "$@" -e 'select 1' >/dev/null 2>&1; }

start() {
    local dir=${1:-} program port pid login auth as_user
    for program in mariadbd mariadb-install-db mariadb; do
        command -v "$program" >/dev/null || die "$program is not installed"
    done
    if [ -z "$dir" ]; then
        dir=$(mktemp -d /tmp/lo-mariadb.XXXXXX)
    fi
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd)
    # Unix socket paths end at 107 bytes.
    [ "${#dir}" -le 90 ] || die "the folder's path is too long for a socket: $dir"
    [ -z "$(ls -A "$dir")" ] || die "the folder is not empty: $dir"
    touch "$dir/$marker"

    if [ "$(id -u)" = 0 ]; then
        login=root auth=(--auth-root-authentication-method=normal --user=root) as_user=(--user=root)
    else
        login=$(id -un) as_user=()
        auth=(--auth-root-authentication-method=socket "--auth-root-socket-user=$login")
    fi
    mariadb-install-db --no-defaults --force --datadir="$dir/data" --skip-test-db "${auth[@]}" \
        >"$dir/install.log" 2>&1 || die "mariadb-install-db failed, see $dir/install.log"

    # The port is drawn at random; a server that finds it taken ends at once, and another is drawn.
    local try
    for try in $(seq 10); do
        port=$((20000 + RANDOM % 12000))
        setsid mariadbd --no-defaults "${as_user[@]}" --datadir="$dir/data" --socket="$dir/s.sock" \
            --port="$port" --bind-address=127.0.0.1 --pid-file="$dir/pid" --log-error="$dir/err.log" \
            --skip-log-bin --skip-name-resolve --innodb-flush-log-at-trx-commit=0 --sync-binlog=0 \
            --innodb-doublewrite=0 --innodb-log-file-size=32M --innodb-buffer-pool-size=128M \
            --character-set-server=utf8mb4 --collation-server=utf8mb4_bin --max-connections=200 \
            --default-time-zone=-05:00 </dev/null >/dev/null 2>&1 &
        pid=$!
        for _ in $(seq 400); do
            if is_up "-u$login" -S "$dir/s.sock"; then
                break 2
            fi
            kill -0 "$pid" 2>/dev/null || continue 2
            sleep 0.05
        done
        kill "$pid" 2>/dev/null || true
        die "the server did not answer within 20 s, see $dir/err.log"
    done
    is_up "-u$login" -S "$dir/s.sock" || die "no free port found after $try tries, see $dir/err.log"

    mariadb --no-defaults "-u$login" -S "$dir/s.sock" -e \
        "create user t@'127.0.0.1' identified by 'pw'; grant all on *.* to t@'127.0.0.1'"
    echo "TEST_MYSQL_URL=mysql://t:pw@127.0.0.1:$port/"
    echo "TEST_MYSQL_DIR=$dir"
}

stop() {
    local dir=${1:-} pid
    [ -n "$dir" ] || die "stop needs the folder that start printed"
    [ -f "$dir/$marker" ] || die "not a folder of this script: $dir"
    if [ -f "$dir/pid" ]; then
        pid=$(cat "$dir/pid")
        kill "$pid" 2>/dev/null || true
        for _ in $(seq 400); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.05
        done
        if kill -0 "$pid" 2>/dev/null; then
            kill -9 "$pid"
        fi
    fi
    rm -rf "$dir"
}

case "${1:-}" in
start) start "${2:-}" ;;
stop) stop "${2:-}" ;;
*) die "usage: $0 start [folder] | stop <folder>" ;;
esac
