//! The keys of an entry that say how WinRM on the host is reached, and how we prove who we are.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use serde_json::Value;

use super::entry::check_address;
use super::parse::{Keys, type_of};
use crate::CredentialRef;

use super::{CertificateFiles, KerberosAccess, Transport, WinrmAccess, WinrmTrust};

/// More than any realm needs; what is asked one after the other has to stay short.
const MAX_KDCS: usize = 8;
const KERBEROS_KEYS: [&str; 3] = ["winrm_realm", "winrm_kdc", "winrm_kerberos_host"];
const CERTIFICATE_KEYS: [&str; 2] = ["winrm_client_cert", "winrm_client_key"];

pub(super) fn access(keys: &mut Keys<'_>, address: Option<&str>) -> Option<WinrmAccess> {
    let word = keys
        .text("winrm_transport")
        .map_or_else(|| "ntlm".to_owned(), |word| word.to_lowercase());
    let credential = credential(keys, &word);
    let (user, password) = match &credential {
        Some(_) => (Some(String::new()), Some(String::new())),
        None => account(keys, &word),
    };
    let tls_server_name = keys.parsed("tls_server_name", check_address);
    let name = tls_server_name.as_deref().or(address);
    // Who a stored credential is for shows only when it is used.
    let said_user = user.as_deref().filter(|_| credential.is_none());
    let transport = transport(keys, &word, said_user, name);
    unused(keys, &word);
    let given_port = keys
        .number("winrm_port", 1..=65_535)
        .and_then(|port| u16::try_from(port).ok());
    let use_tls = use_tls(keys, &word, given_port);
    Some(WinrmAccess {
        trust: trust(keys),
        credential,
        user: user?,
        password: password?.into(),
        transport: transport?,
        port: given_port.unwrap_or(if use_tls { 5986 } else { 5985 }),
        use_tls,
        tls_server_name,
    })
}

/// The stored credential, under either spelling of the key.
fn credential(keys: &mut Keys<'_>, word: &str) -> Option<CredentialRef> {
    let mut spelled = |key| keys.parsed(key, CredentialRef::parse).map(|found| (key, found));
    let (first, second) = (spelled("winrm_credential_ref"), spelled("credential_ref"));
    if let (Some((_, first)), Some((key, second))) = (&first, &second)
        && first != second
    {
        keys.problem(key, "says otherwise than winrm_credential_ref");
    }
    let (key, found) = first.or(second)?;
    if word == "certificate" {
        keys.problem(key, "is not used with winrm_transport \"certificate\"");
    }
    for other in ["winrm_user", "winrm_pass"] {
        if keys.text(other).is_some() {
            keys.problem(other, format!("is given together with {key}; choose one"));
        }
    }
    Some(found)
}

/// User and password. With a certificate neither is needed, and a password is not even looked at.
fn account(keys: &mut Keys<'_>, word: &str) -> (Option<String>, Option<String>) {
    let before = keys.problems.len();
    if word == "certificate" {
        return (
            Some(keys.secret("winrm_user").unwrap_or_default()),
            Some(String::new()),
        );
    }
    let user = keys.secret("winrm_user");
    let password = keys.secret("winrm_pass");
    for (key, value) in [("winrm_user", &user), ("winrm_pass", &password)] {
        if value.is_none() && keys.problems.len() == before {
            keys.problem(key, "is missing or empty");
        }
    }
    (user, password)
}

fn transport(
    keys: &mut Keys<'_>,
    word: &str,
    user: Option<&str>,
    host_name: Option<&str>,
) -> Option<Transport> {
    let refusal = match word {
        "ntlm" => return Some(Transport::Ntlm),
        "negotiate" => return Some(Transport::Negotiate),
        "basic" | "plaintext" | "ssl" => return Some(Transport::Basic),
        "kerberos" => return Some(Transport::Kerberos(kerberos(keys, user, host_name))),
        "certificate" => return certificate(keys).map(Transport::Certificate),
        "credssp" => {
            "\"credssp\" hands the password to the host and is not supported; use \"ntlm\" or \"kerberos\""
                .into()
        }
        _ => {
            format!("{word:?} is none of ntlm, negotiate, kerberos, certificate, basic, plaintext, ssl")
        }
    };
    keys.problem("winrm_transport", refusal);
    None
}

fn kerberos(keys: &mut Keys<'_>, user: Option<&str>, host_name: Option<&str>) -> KerberosAccess {
    let before = keys.problems.len();
    let realm = keys.parsed("winrm_realm", check_realm);
    // A realm that is there but wrong has its own problem.
    let realm_is_fine = realm.is_some() || keys.problems.len() > before;
    if !realm_is_fine && user.is_some_and(|user| !has_realm(user)) {
        let message = "has no realm: write it as user@REALM or REALM\\user, or add winrm_realm";
        keys.problem("winrm_user", message);
    }
    let kdcs = kdcs(keys);
    let before = keys.problems.len();
    let service_host = keys.parsed("winrm_kerberos_host", check_address);
    if service_host.is_none()
        && keys.problems.len() == before
        && let Some(address) = host_name.and_then(|name| name.parse::<IpAddr>().ok())
    {
        let message = format!(
            "is missing: Kerberos knows a host by its name, and {address} is none; give the name the domain has for it"
        );
        keys.problem("winrm_kerberos_host", message);
    }
    KerberosAccess {
        realm,
        kdcs,
        service_host,
    }
}

/// Whether an account says its realm itself.
fn has_realm(user: &str) -> bool {
    match (user.split_once('\\'), user.rsplit_once('@')) {
        (Some((domain, _)), _) => !matches!(domain, "" | "."),
        (None, Some((_, realm))) => !realm.is_empty(),
        (None, None) => false,
    }
}

/// One KDC as text, or a list of them.
fn kdcs(keys: &mut Keys<'_>) -> Vec<String> {
    let items = match keys.map.get("winrm_kdc") {
        None | Some(Value::Null) => return Vec::new(),
        Some(Value::Array(items)) => items.as_slice(),
        Some(one) => std::slice::from_ref(one),
    };
    if items.len() > MAX_KDCS {
        keys.problem(
            "winrm_kdc",
            format!("has {} entries, at most {MAX_KDCS} are asked", items.len()),
        );
    }
    let mut kdcs = Vec::with_capacity(items.len());
    for item in items.iter().take(MAX_KDCS) {
        let read = match item.as_str() {
            Some(text) => check_kdc(text.trim()),
            None => Err(format!("must be text or a list of texts, is {}", type_of(item))),
        };
        match read {
            Ok(kdc) => kdcs.push(kdc),
            Err(message) => keys.problem("winrm_kdc", message),
        }
    }
    kdcs
}

fn certificate(keys: &mut Keys<'_>) -> Option<CertificateFiles> {
    let mut file = |key: &str| {
        let before = keys.problems.len();
        let path = keys.text(key);
        if path.is_none() && keys.problems.len() == before {
            keys.problem(key, "is missing: \"certificate\" needs a PEM file here");
        }
        path.map(PathBuf::from)
    };
    let (certificate, key) = (file("winrm_client_cert"), file("winrm_client_key"));
    Some(CertificateFiles {
        certificate: certificate?,
        key: key?,
    })
}

/// A key that means nothing beside the word was meant for another one.
fn unused(keys: &mut Keys<'_>, word: &str) {
    let of = |others: &'static [&'static str], owner| others.iter().map(move |key| (*key, owner));
    let all = of(&KERBEROS_KEYS, "kerberos").chain(of(&CERTIFICATE_KEYS, "certificate"));
    for (key, owner) in all {
        let given = keys.map.get(key).is_some_and(|value| !value.is_null());
        if given && word != owner {
            keys.problem(key, format!("is only used with winrm_transport {owner:?}"));
        }
    }
}

fn use_tls(keys: &mut Keys<'_>, word: &str, port: Option<u16>) -> bool {
    let asked = ["winrm_use_ssl", "use_ssl"]
        .into_iter()
        .find_map(|key| keys.switch(key).map(|on| (key, on)));
    match asked {
        Some((key, false)) if word == "certificate" => {
            keys.problem(key, "is off, but \"certificate\" is a proof within TLS");
            false
        }
        Some((_, on)) => on,
        None => matches!(word, "ssl" | "certificate") || port == Some(5986),
    }
}

fn trust(keys: &mut Keys<'_>) -> WinrmTrust {
    let ca_file = keys.text("winrm_ca_file").map(PathBuf::from);
    let pin = keys.parsed("winrm_cert_sha256", parse_sha256);
    match (ca_file, pin) {
        (Some(_), Some(_)) => {
            keys.problem(
                "winrm_cert_sha256",
                "is given together with winrm_ca_file; choose one",
            );
            WinrmTrust::SystemRoots
        }
        (Some(file), None) => WinrmTrust::CaFile(file),
        (None, Some(pin)) => WinrmTrust::PinnedSha256(pin),
        (None, None) => WinrmTrust::SystemRoots,
    }
}

fn check_realm(text: &str) -> Result<String, String> {
    let name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if text.len() <= 255 && text.bytes().all(name) {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is no Kerberos realm"))
    }
}

/// `host`, `host:port`, `[ipv6]:port` or an IPv6 address.
fn check_kdc(text: &str) -> Result<String, String> {
    let parts = if text.parse::<Ipv6Addr>().is_ok() {
        Some((text, ""))
    } else if let Some(rest) = text.strip_prefix('[') {
        rest.split_once(']')
            .filter(|(host, _)| host.parse::<Ipv6Addr>().is_ok())
    } else {
        Some(text.split_at(text.find(':').unwrap_or(text.len())))
    };
    let fits = parts.is_some_and(|(host, rest)| {
        let port = |digits: &str| digits.parse::<u16>().is_ok_and(|port| port != 0);
        let port_fits = rest.is_empty() || rest.strip_prefix(':').is_some_and(port);
        !host.is_empty() && check_address(host).is_ok() && port_fits
    });
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not host, host:port or [ipv6]:port"))
    }
}

fn parse_sha256(text: &str) -> Result<[u8; 32], String> {
    let hex: String = text.chars().filter(|c| !matches!(c, ':' | ' ' | '-')).collect();
    let mut pin = [0; 32];
    if hex.len() != 64 || !hex.is_ascii() {
        return Err(format!("must be 64 hex digits, has {}", hex.chars().count()));
    }
    for (byte, pair) in pin.iter_mut().zip(hex.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).unwrap_or_default();
        *byte = u8::from_str_radix(pair, 16).map_err(|_| format!("{pair:?} is no hex digit pair"))?;
    }
    Ok(pin)
}
