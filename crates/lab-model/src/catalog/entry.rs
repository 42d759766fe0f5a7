//! One entry of `hosts.json`: which keys there are, their defaults, and what may be shown of them.

use std::net::Ipv4Addr;

use serde_json::{Map, Value, json};
use wol::{MacAddr, SecureOn};

use super::keys::{CATALOG_KEYS, is_comment, is_extra, is_known, meant};
use super::parse::{Keys, Outcome, Resolve, type_of};
use super::winrm;
use super::{DEFAULT_EVENTS_PATH, DEFAULT_HEARTBEAT_PATH, DEFAULT_LABSTATION_EXE, Host, Problem, WakeAccess};
use crate::{HostName, LabId};

pub(super) fn read(
    at: usize,
    map: &Map<String, Value>,
    resolve: &Resolve<'_>,
    outcome: &mut Outcome,
) -> Option<Host> {
    let problems = &mut outcome.problems;
    let label = map
        .get("name")
        .and_then(Value::as_str)
        .map(str::trim)
        .filter(|name| !name.is_empty());
    let before = problems.len();
    let host = label.map_or_else(|| format!("hosts[{at}]"), |name| name.chars().take(64).collect());
    let mut keys = Keys {
        host,
        map,
        resolve,
        problems,
    };

    let name = keys.parsed("name", HostName::parse);
    if name.is_none() && label.is_none() {
        keys.problem("name", "is missing");
    }
    let before_address = keys.problems.len();
    let address = keys.parsed("address", check_address);
    if address.is_none() && keys.problems.len() == before_address {
        keys.problem("address", "is missing or empty");
    }
    let winrm = winrm::access(&mut keys, address.as_deref());
    let wake = wake(&mut keys);
    let ping_target = keys.parsed("ping_target", check_address);
    let watch = keys.switch("watch").unwrap_or(false);
    let labs = labs(&mut keys);
    let labstation_exe = keys
        .text("labstation_exe")
        .unwrap_or_else(|| DEFAULT_LABSTATION_EXE.into());
    let heartbeat_path = keys
        .text("heartbeat_path")
        .unwrap_or_else(|| DEFAULT_HEARTBEAT_PATH.into());
    let events_path = keys
        .text("events_path")
        .unwrap_or_else(|| DEFAULT_EVENTS_PATH.into());
    let host = std::mem::take(&mut keys.host);
    for (key, _) in map.iter().filter(|(key, _)| !is_known(key) && !is_comment(key)) {
        if let Some(near) = meant(key, CATALOG_KEYS.iter().map(|known| known.name)) {
            outcome.warnings.push(Problem {
                host: host.clone(),
                key: key.chars().take(64).collect(),
                message: format!("is not known and means nothing; did you mean {near:?}?"),
            });
        }
    }
    if outcome.problems.len() > before {
        return None;
    }
    let extra = map.iter().filter(|(key, _)| is_extra(key));
    let address = address?;
    Some(Host {
        name: name?,
        ping_target: ping_target.unwrap_or_else(|| address.clone()),
        address,
        winrm: winrm?,
        wake,
        labstation_exe,
        heartbeat_path,
        events_path,
        watch,
        labs,
        extra: extra.map(|(key, value)| (key.clone(), value.clone())).collect(),
    })
}

fn wake(keys: &mut Keys<'_>) -> WakeAccess {
    let port = keys
        .number("wol_port", 1..=65_535)
        .and_then(|port| u16::try_from(port).ok());
    let secure_on = keys.secret("wol_password").and_then(|text| {
        let parsed = text.parse::<SecureOn>();
        if parsed.is_err() {
            keys.problem("wol_password", "is no SecureOn password of 4 or 6 bytes");
        }
        parsed.ok()
    });
    WakeAccess {
        mac: keys.parsed("mac", str::parse::<MacAddr>),
        broadcast: keys
            .parsed("broadcast", parse_ipv4)
            .unwrap_or(Ipv4Addr::BROADCAST),
        port: port.unwrap_or(9),
        attempts: keys.number("wake_attempts", 1..=100).unwrap_or(3),
        interface: keys.parsed("wol_interface", check_interface),
        source: keys.parsed("wol_source", parse_ipv4),
        secure_on,
    }
}

fn labs(keys: &mut Keys<'_>) -> Vec<LabId> {
    let Some(value) = keys.map.get("labs").filter(|value| !value.is_null()) else {
        return Vec::new();
    };
    let Value::Array(items) = value else {
        keys.problem(
            "labs",
            format!("must be a list of lab ids, is {}", type_of(value)),
        );
        return Vec::new();
    };
    let mut labs = Vec::new();
    for item in items {
        match item {
            Value::String(text) => labs.push(LabId::new(text)),
            Value::Number(number) => labs.push(LabId::new(&number.to_string())),
            other => keys.problem(
                "labs",
                format!("holds {}, lab ids are text or numbers", type_of(other)),
            ),
        }
    }
    labs.retain(|lab| !lab.is_blank());
    labs
}

fn parse_ipv4(text: &str) -> Result<Ipv4Addr, String> {
    text.parse().map_err(|_| format!("{text:?} is no IPv4 address"))
}

/// An IP address, or a name of DNS characters: nothing that a resolver, a URL or a log could read otherwise.
pub(super) fn check_address(text: &str) -> Result<String, String> {
    let is_name = text.len() <= 253
        && !text.starts_with('-')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    if is_name || text.parse::<std::net::IpAddr>().is_ok() {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is neither an IP address nor a host name"))
    }
}

fn check_interface(text: &str) -> Result<String, String> {
    // Linux keeps interface names in 16 bytes including the final zero.
    let fits = text.len() <= 15 && text.chars().all(|c| c.is_ascii_graphic() && c != '/');
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is no interface name"))
    }
}

pub(super) fn public_view(host: &Host) -> Value {
    let mut view = json!({
        "name": host.name,
        "address": host.address,
        "winrm_transport": host.winrm.transport.word(),
        "winrm_port": host.winrm.port,
        "winrm_use_ssl": host.winrm.use_tls,
        "mac": host.wake.mac.map(|mac| mac.to_string()),
        "broadcast": host.wake.broadcast.to_string(),
        "wol_port": host.wake.port,
        "wake_attempts": host.wake.attempts,
        "ping_target": host.ping_target,
        "labstation_exe": host.labstation_exe,
        "heartbeat_path": host.heartbeat_path,
        "events_path": host.events_path,
        "labs": host.labs,
    });
    if let Value::Object(view) = &mut view {
        if host.watch {
            view.insert("watch".into(), json!(true));
        }
        if let Some(credential) = &host.winrm.credential {
            view.insert("winrm_credential_ref".into(), json!(credential));
        }
        let shown = host.extra.iter().filter(|(key, value)| !looks_secret(key, value));
        view.extend(shown.map(|(key, value)| (key.clone(), value.clone())));
    }
    view
}

/// Unknown keys are the operator's own: one that names a secret, or points to one, is kept but not shown.
fn looks_secret(key: &str, value: &Value) -> bool {
    let key = key.to_ascii_lowercase();
    ["pass", "secret", "token", "key", "cred", "pwd"].iter().any(|word| key.contains(word))
        || value.as_str().is_some_and(|text| text.starts_with("env:"))
        // A nested value could hide one further down.
        || value.is_object()
        || value.is_array()
}
