#!/usr/bin/env bash
# The decision crates stay pure and the arrows between our crates point down (docs/architecture.md).
set -uo pipefail
cd "$(dirname "$0")/.."
bad=0

# crate: crates that must not be anywhere below it
forbid() {
    local crate="$1"; shift
    local below
    below="$(cargo tree --locked -e normal --prefix none --format '{p}' -p "$crate" | awk '{print $1}' | sort -u)"
    [ -n "$below" ] || { echo "cannot read the dependencies of $crate"; bad=1; return; }
    for name in "$@"; do
        if grep -qx "$name" <<<"$below"; then echo "$crate must not depend on $name"; bad=1; fi
    done
}
http="axum hyper hyper-util"
sql="sea-orm sqlx sqlx-core sea-orm-migration"
winrm="quick-xml ntlmclient sspi picky-krb rustls md4"
ours="lab-model wol winrm-transport labstation-commands station-control reservation-engine store-support
      heartbeat-store reservation-store worker-registry call-journal credential-store notifications ops-runtime ops-api
      ops-scheduler opsctl host-sim lab-days migrations"
without() { local name; for name in $ours; do [[ " $* " == *" $name "* ]] || echo "$name"; done; }

# shellcheck disable=SC2046,SC2086
{
forbid lab-model $http $sql quick-xml tokio socket2 $(without lab-model wol)
# Whoever embeds the engine gets no HTTP, no SQL and no WinRM.
forbid reservation-engine $http $sql $winrm surge-ping $(without reservation-engine lab-model wol)
forbid embed-engine $http $sql $winrm surge-ping $(without reservation-engine lab-model wol)
forbid lab-days $http $sql $winrm $(without lab-days reservation-engine lab-model wol)
forbid wol $http $sql quick-xml $(without wol)
forbid winrm-transport $sql axum $(without winrm-transport)
forbid labstation-commands $http $sql quick-xml tokio socket2 $(without labstation-commands)
forbid station-control $sql axum store-support heartbeat-store reservation-store
forbid store-support $http quick-xml $(without store-support)
forbid heartbeat-store $http quick-xml winrm-transport station-control reservation-engine
forbid reservation-store $http quick-xml winrm-transport station-control heartbeat-store
forbid worker-registry $http quick-xml $(without worker-registry lab-model wol store-support)
forbid call-journal $http quick-xml $(without call-journal lab-model wol store-support)
forbid credential-store $http quick-xml $(without credential-store lab-model wol store-support)
# It speaks HTTP to whoever is told, but never to a host.
forbid notifications axum quick-xml winrm-transport station-control heartbeat-store
# A caller like any other: it knows the routes, not the programs behind them.
forbid opsctl $sql axum quick-xml $(without opsctl)
forbid host-sim $(without host-sim)
}
[ "$bad" -eq 0 ] && echo "all arrows point down"
exit "$bad"
