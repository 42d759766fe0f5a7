#!/usr/bin/env bash
# A private Galera cluster of three MariaDB nodes on loopback, for the tests that need one.
#
#   scripts/test-galera.sh start [folder]         starts it and prints TEST_GALERA_URLS=... and TEST_GALERA_DIR=...
#   scripts/test-galera.sh kill <folder> <node>   ends node 1, 2 or 3 as a power cut would
#   scripts/test-galera.sh stop <folder>          ends all nodes by their pid files and removes the folder
#   scripts/test-galera.sh run                    starts it, runs the tests on it, and stops it
#
# Needs what test-mariadb.sh needs; installs rsync and lsof where they are missing. The provider and the state transfer scripts are taken out of
# Debian's packages without installing them: nothing of the system is touched.
set -euo pipefail
cd "$(dirname "$0")/.."

marker=.lab-ops-test-galera

die() {
    echo "test-galera: $*" >&2
    exit 1
}

install_missing() {
    local packages=()
    command -v rsync >/dev/null || packages+=(rsync)
    command -v lsof >/dev/null || packages+=(lsof)
    [ "${#packages[@]}" -gt 0 ] || return 0
    echo "installing: ${packages[*]}" >&2
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null 2>&1
}

# Unpacks Debian's packages once and prints where.
provider() {
    local cache="$PWD/.cache/galera"
    if [ ! -f "$cache/usr/lib/galera/libgalera_smm.so" ] || [ ! -f "$cache/usr/bin/wsrep_sst_rsync" ]; then
        local download
        download=$(mktemp -d)
        (cd "$download" && apt-get download -qq galera-4 mariadb-server >/dev/null 2>&1) \
            || die "the packages galera-4 and mariadb-server cannot be downloaded"
        mkdir -p "$cache"
        for package in "$download"/*.deb; do
            dpkg -x "$package" "$cache"
        done
        rm -rf "$download"
    fi
    echo "$cache"
}

sql() { # folder, node, statement
    mariadb --no-defaults "-u$(cat "$1/login")" -S "$1/n$2.sock" -NBe "$3" 2>/dev/null
}

launch() { # folder, node, further arguments
    local dir=$1 node=$2 base port
    shift 2
    base=$(cat "$dir/base")
    port=$((base + node))
    local group=$((base + 10 * node))
    local members="127.0.0.1:$((base + 10)),127.0.0.1:$((base + 20)),127.0.0.1:$((base + 30))"
    local as_user=()
    [ "$(id -u)" != 0 ] || as_user=(--user=nobody)
    PATH="$(cat "$dir/provider")/usr/bin:$PATH" TMPDIR="$dir/tmp" setsid mariadbd --no-defaults "${as_user[@]}" \
        --datadir="$dir/n$node" --socket="$dir/n$node.sock" --port="$port" --bind-address=127.0.0.1 \
        --pid-file="$dir/n$node.pid" --log-error="$dir/n$node.log" --skip-name-resolve --tmpdir="$dir/tmp" \
        --innodb-flush-log-at-trx-commit=0 --innodb-doublewrite=0 --innodb-log-file-size=32M \
        --innodb-buffer-pool-size=64M --character-set-server=utf8mb4 --collation-server=utf8mb4_bin \
        --max-connections=200 --binlog-format=ROW --innodb-autoinc-lock-mode=2 \
        --default-storage-engine=InnoDB --wsrep-on=ON \
        --wsrep-provider="$(cat "$dir/provider")/usr/lib/galera/libgalera_smm.so" \
        --wsrep-cluster-name=lab-ops --wsrep-cluster-address="gcomm://$members" \
        --wsrep-node-name="n$node" --wsrep-node-address="127.0.0.1:$group" --wsrep-sst-method=rsync \
        --wsrep-sst-receive-address="127.0.0.1:$((base + 40 + node))" \
        --wsrep-provider-options="base_port=$group;gmcast.listen_addr=tcp://127.0.0.1:$group;ist.recv_addr=127.0.0.1:$((group + 1));gcache.size=16M;pc.recovery=false" \
        "$@" </dev/null >/dev/null 2>&1 &
    local pid=$!
    # The shell would report a node that is killed on purpose.
    disown "$pid"
    for _ in $(seq 1200); do
        [ "$(sql "$dir" "$node" "show status like 'wsrep_ready'" | cut -f2)" = ON ] && return 0
        kill -0 "$pid" 2>/dev/null || die "node $node ended: $(tail -n 3 "$dir/n$node.log")"
        sleep 0.05
    done
    die "node $node was not ready within 60 s, see $dir/n$node.log"
}

start() {
    local dir=${1:-} login auth program
    install_missing
    for program in mariadbd mariadb-install-db mariadb rsync lsof ss; do
        command -v "$program" >/dev/null || die "$program is not installed"
    done
    [ -n "$dir" ] || dir=$(mktemp -d /tmp/lo-galera.XXXXXX)
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd)
    [ "${#dir}" -le 90 ] || die "the folder's path is too long for a socket: $dir"
    [ -z "$(ls -A "$dir")" ] || die "the folder is not empty: $dir"
    touch "$dir/$marker"
    provider >"$dir/provider"
    echo $((20000 + RANDOM % 10000)) >"$dir/base"
    if [ "$(id -u)" = 0 ]; then
        login=root auth=(--auth-root-authentication-method=normal --user=root)
    else
        login=$(id -un)
        auth=(--auth-root-authentication-method=socket "--auth-root-socket-user=$login")
    fi
    echo "$login" >"$dir/login"
    mkdir "$dir/tmp"
    mariadb-install-db --no-defaults --force --datadir="$dir/n1" --skip-test-db "${auth[@]}" \
        >"$dir/install.log" 2>&1 || die "mariadb-install-db failed, see $dir/install.log"
    cp -r "$dir/n1" "$dir/n2"
    cp -r "$dir/n1" "$dir/n3"
    # The state transfer drops root's rights; the nodes run without them from the beginning.
    [ "$(id -u)" != 0 ] || chown -R nobody "$dir"
    chmod 755 "$dir"
    launch "$dir" 1 --wsrep-new-cluster
    launch "$dir" 2
    launch "$dir" 3
    sql "$dir" 1 "create user t@'127.0.0.1' identified by 'pw'; grant all on *.* to t@'127.0.0.1'"
    local base urls="" node
    base=$(cat "$dir/base")
    for node in 1 2 3; do
        urls="$urls${urls:+,}mysql://t:pw@127.0.0.1:$((base + node))/"
    done
    echo "TEST_GALERA_URLS=$urls"
    echo "TEST_GALERA_DIR=$dir"
}

end_node() { # folder, node, signal
    local pid
    [ -f "$1/n$2.pid" ] || return 0
    pid=$(cat "$1/n$2.pid")
    kill "-$3" "$pid" 2>/dev/null || return 0
    for _ in $(seq 400); do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.05
    done
    kill -9 "$pid" 2>/dev/null || true
}

checked() { [ -n "${1:-}" ] && [ -f "$1/$marker" ] || die "not a folder of this script: ${1:-none}"; }

run() {
    local dir code=0
    dir=$(mktemp -d /tmp/lo-galera.XXXXXX)
    # The name goes into the trap now: it runs when this function's variables are gone.
    # shellcheck disable=SC2064
    trap "stop '$dir'" EXIT
    start "$dir" >"$dir.urls"
    # shellcheck disable=SC2046
    export $(cat "$dir.urls")
    rm -f "$dir.urls"
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --locked -p reservation-store --run-ignored ignored-only --success-output immediate galera || code=$?
    else
        cargo test --locked -p reservation-store --test it -- --ignored --nocapture galera || code=$?
    fi
    return "$code"
}

stop() {
    local node
    for node in 1 2 3; do end_node "$1" "$node" TERM; done
    rm -rf "$1"
}

case "${1:-}" in
start) start "${2:-}" ;;
run) run ;;
kill)
    checked "${2:-}"
    case "${3:-}" in 1 | 2 | 3) end_node "$2" "$3" KILL ;; *) die "which node: 1, 2 or 3" ;; esac
    ;;
stop)
    checked "${2:-}"
    stop "$2"
    ;;
*) die "usage: $0 start [folder] | kill <folder> <node> | stop <folder> | run" ;;
esac
