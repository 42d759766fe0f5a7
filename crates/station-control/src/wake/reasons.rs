//! Why a wake stands where it stands, each with a stable code and the usual causes.

use lab_model::Host;
use reservation_engine::Reason;
use wol::{SendError, TcpProbe};

use super::report::Rung;
use crate::error::StationError;

/// A reason at a rung.
pub(super) fn at(rung: Rung, code: &str, detail: String) -> Reason {
    Reason::new(code, detail).at_rung(rung.as_str())
}

/// Why a closed port may be closed. `None`: the host's name led to no address.
pub(super) fn closed(host: &Host, seen: Option<TcpProbe>) -> Reason {
    let (address, port) = (&host.address, host.winrm.port);
    let (code, detail) = match seen {
        None => (
            "name_unresolved",
            format!("the name {address} has no address: check the catalog and the name service"),
        ),
        Some(TcpProbe::Refused { .. }) => (
            "port_closed",
            format!(
                "{address} refuses connections on port {port}: it is still starting, WinRM is not enabled, or its \
                 firewall rejects us"
            ),
        ),
        Some(TcpProbe::Unreachable(kind)) => (
            "port_unreachable",
            format!(
                "the network knows no way to {address} ({kind}): nobody answers for the address there, it is wrong, \
                 or a route is missing"
            ),
        ),
        Some(TcpProbe::NotTried { .. }) => {
            let seen = seen.map(|probe| probe.to_string()).unwrap_or_default();
            (
                "probe_failed",
                format!("port {port} of {address} {seen}: this machine is short of something"),
            )
        }
        Some(TcpProbe::Silent | TcpProbe::Open { .. }) => (
            "port_silent",
            format!(
                "nothing answers at {address} port {port}: no power, Wake-on-LAN off in card or firmware, packet lost \
                 on the way (other VLAN, wrong mac), or a firewall"
            ),
        ),
    };
    at(Rung::TcpPort, code, detail)
}

/// No packet left this machine.
pub(super) fn send_failed(error: &SendError) -> Reason {
    let cause = std::error::Error::source(error)
        .map(|cause| format!(": {cause}"))
        .unwrap_or_default();
    at(
        Rung::PacketSent,
        "send_failed",
        format!("no magic packet could be sent: {error}{cause}"),
    )
}

/// Whether the file is the trouble, and not the way to it.
pub(super) fn heartbeat_is_at_fault(error: &StationError) -> bool {
    matches!(
        error,
        StationError::FileMissing { .. } | StationError::HeartbeatUnreadable { .. }
    )
}

/// Somebody else answers at the host's address.
pub(super) fn another_machine(host: &Host, known: &str, found: &str) -> Reason {
    let (name, address) = (&host.name, &host.address);
    let detail = format!(
        "at {address} answers computer {found}, but host {name} is computer {known}: its address went to another \
         machine, or it was renamed (then reload the catalog with a changed entry, or restart this service)"
    );
    at(Rung::WinrmAnswer, "another_machine", detail)
}

/// At most a few issues, each cut: they come from the host and go into one line.
pub(super) fn listed(issues: &[String]) -> String {
    const MOST: usize = 8;
    if issues.is_empty() {
        return "it names no issue".into();
    }
    let mut shown: Vec<String> = issues
        .iter()
        .take(MOST)
        .map(|issue| issue.chars().take(120).collect())
        .collect();
    if issues.len() > MOST {
        shown.push(format!("and {} more", issues.len() - MOST));
    }
    shown.join(", ")
}
