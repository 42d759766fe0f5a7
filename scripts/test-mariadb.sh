#!/usr/bin/env bash
# A private MariaDB for tests: its own folder, socket, port and pid file; nothing of the system is touched.
#
#   scripts/test-mariadb.sh start [folder]    starts one and prints TEST_MYSQL_URL=... and TEST_MYSQL_DIR=...
#   scripts/test-mariadb.sh crash <folder>    ends it as a power cut would
#   scripts/test-mariadb.sh launch <folder>   starts it again where it was, on the port it had
#   scripts/test-mariadb.sh restart <folder>  both, one after the other
#   scripts/test-mariadb.sh pause <folder>    stops it in its tracks: connections stay open, nothing answers
#   scripts/test-mariadb.sh resume <folder>   lets it go on
#   scripts/test-mariadb.sh stop <folder>     stops it by its pid file and removes the folder
#
# TEST_MARIADB_BIND is the address it listens on, 127.0.0.1 without it; on another one its user may come from anywhere.
# Needs mariadbd, mariadb-install-db and mariadb (Debian: mariadb-server-core, mariadb-client-core).
# The server's own zone is five hours west of UTC on purpose: whoever forgets the session's zone fails a test.
set -euo pipefail

marker=.lab-ops-test-mariadb

die() {
    echo "test-mariadb: $*" >&2
    exit 1
}

is_up() { mariadb --no-defaults "$@" -e 'select 1' >/dev/null 2>&1; }

# Starts the server on the port that the folder names and waits until it answers; 1 when it ended instead.
# What was committed outlives the server, though not the machine: a test may kill it and miss nothing.
serve() { # folder
    local dir=$1 pid as_user=()
    [ "$(id -u)" != 0 ] || as_user=(--user=root)
    setsid mariadbd --no-defaults "${as_user[@]}" --datadir="$dir/data" --socket="$dir/s.sock" \
        --port="$(cat "$dir/port")" --bind-address="$(cat "$dir/bind")" --pid-file="$dir/pid" \
        --log-error="$dir/err.log" --skip-log-bin --skip-name-resolve --innodb-flush-log-at-trx-commit=2 \
        --sync-binlog=0 --innodb-doublewrite=0 --innodb-log-file-size=32M --innodb-buffer-pool-size=128M \
        --character-set-server=utf8mb4 --collation-server=utf8mb4_bin --max-connections=200 \
        --default-time-zone=-05:00 </dev/null >/dev/null 2>&1 &
    pid=$!
    for _ in $(seq 1200); do
        ! is_up "-u$(cat "$dir/login")" -S "$dir/s.sock" || return 0
        kill -0 "$pid" 2>/dev/null || return 1
        sleep 0.05
    done
    kill "$pid" 2>/dev/null || true
    die "the server did not answer within 60 s, see $dir/err.log"
}

start() {
    local dir=${1:-} program login auth bind=${TEST_MARIADB_BIND:-127.0.0.1} from=127.0.0.1
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
        login=root auth=(--auth-root-authentication-method=normal --user=root)
    else
        login=$(id -un)
        auth=(--auth-root-authentication-method=socket "--auth-root-socket-user=$login")
    fi
    mariadb-install-db --no-defaults --force --datadir="$dir/data" --skip-test-db "${auth[@]}" \
        >"$dir/install.log" 2>&1 || die "mariadb-install-db failed, see $dir/install.log"
    echo "$login" >"$dir/login"
    echo "$bind" >"$dir/bind"

    # The port is drawn at random; a server that finds it taken ends at once, and another is drawn.
    local try up=no
    for try in $(seq 10); do
        echo $((20000 + RANDOM % 12000)) >"$dir/port"
        if serve "$dir"; then
            up=yes
            break
        fi
    done
    [ "$up" = yes ] || die "no free port found after $try tries, see $dir/err.log"

    [ "$bind" = 127.0.0.1 ] || from=%
    mariadb --no-defaults "-u$login" -S "$dir/s.sock" -e \
        "create user t@'$from' identified by 'pw'; grant all on *.* to t@'$from'"
    [ "$bind" != 0.0.0.0 ] || bind=127.0.0.1
    echo "TEST_MYSQL_URL=mysql://t:pw@$bind:$(cat "$dir/port")/"
    echo "TEST_MYSQL_DIR=$dir"
}

checked() { # folder
    [ -n "${1:-}" ] || die "needs the folder that start printed"
    [ -f "$1/$marker" ] || die "not a folder of this script: $1"
}

send() { # folder, signal: to the server of the folder, if it runs
    local pid
    [ -f "$1/pid" ] || return 1
    pid=$(cat "$1/pid")
    grep -qaF -- "$1/data" "/proc/$pid/cmdline" 2>/dev/null && kill "-$2" "$pid"
}

end() { # folder, signal
    local pid
    pid=$(cat "$1/pid" 2>/dev/null) || return 0
    send "$1" "$2" || return 0
    for _ in $(seq 1200); do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.05
    done
    kill -9 "$pid"
}

launch() { serve "$1" || die "the server ended at once, see $1/err.log"; }

stop() {
    # One that is paused hears nothing else.
    send "$1" CONT || true
    end "$1" TERM
    rm -rf "$1"
}

command=${1:-}
case "$command" in
start) start "${2:-}" ;;
crash | launch | restart | pause | resume | stop)
    checked "${2:-}"
    folder=$(cd "$2" && pwd)
    case "$command" in
    crash) end "$folder" KILL ;;
    launch) launch "$folder" ;;
    restart)
        end "$folder" KILL
        launch "$folder"
        ;;
    pause) send "$folder" STOP || die "the server does not run" ;;
    resume) send "$folder" CONT || die "the server does not run" ;;
    stop) stop "$folder" ;;
    esac
    ;;
*) die "usage: $0 start [folder] | crash, launch, restart, pause, resume or stop <folder>" ;;
esac
