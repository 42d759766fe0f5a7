#!/usr/bin/env bash
# Installs what the tests need and the machine lacks. Safe to run again; says nothing when nothing is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=()
need() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || packages+=("$2"); }
need mariadbd mariadb-server-core
need mariadb mariadb-client-core
need ip iproute2
need ping iputils-ping
need curl curl
need cc gcc
need krb5kdc krb5-kdc
need kadmin.local krb5-admin-server
need kinit krb5-user
need faketime faketime
need nginx nginx
need systemd-analyze systemd
need promtool prometheus
[ -e /usr/lib/nginx/modules/ngx_http_lua_module.so ] || packages+=(libnginx-mod-http-lua)
[ -e /usr/lib/python3/dist-packages/gssapi ] || packages+=(python3-gssapi)
if [ "${#packages[@]}" -gt 0 ]; then
    echo "installing: ${packages[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
fi

# The WinRM clients that the simulated host is proved against, the tools that read the API's description, and readers for
# the files of deploy/, in an environment of their own.
venv="${INTEROP_VENV:-$PWD/.cache/venv}"
requirements=(crates/host-sim/tests/python/requirements.txt bins/ops-api/tests/python/requirements.txt)
if ! cat "${requirements[@]}" | cmp -s - "$venv/requirements.installed"; then
    echo "installing: Python clients and readers for the tests"
    rm -rf "$venv"
    python3 -m venv "$venv"
    # At once, so that the versions of one file are right for the other.
    "$venv/bin/pip" install --quiet --disable-pip-version-check "${requirements[@]/#/--requirement=}"
    cat "${requirements[@]}" >"$venv/requirements.installed"
fi
