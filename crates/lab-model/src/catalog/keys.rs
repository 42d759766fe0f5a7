//! Every key of an entry of `hosts.json`, in one table: what is known, what is suggested, and what the guide and the
//! schema for editors are made of.

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// Text.
    Text,
    /// Text, or `env:NAME` or `file:/path`; shown nowhere.
    Secret,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A whole number in this range, or the same as text.
    Number(u32, u32),
    /// `true` or `false`, or a word such as `no`.
    Switch,
    /// A list of texts and numbers.
    Ids,
    /// One text, or a list of texts.
    Texts,
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct CatalogKey {
    /// As it is written in the file.
    pub name: &'static str,
    /// What it takes.
    pub kind: KeyKind,
    /// What counts when it is absent, for a reader; empty when nothing does.
    pub default: &'static str,
    /// One sentence.
    pub meaning: &'static str,
}

const fn key(name: &'static str, kind: KeyKind, default: &'static str, meaning: &'static str) -> CatalogKey {
    CatalogKey {
        name,
        kind,
        default,
        meaning,
    }
}

/// The words of `winrm_transport` that are spoken; `credssp` is known only to be refused.
pub const TRANSPORT_WORDS: &[&str] = &[
    "ntlm",
    "negotiate",
    "kerberos",
    "certificate",
    "basic",
    "plaintext",
    "ssl",
];

/// All keys, in the order of the guide.
pub const CATALOG_KEYS: &[CatalogKey] = &[
    key(
        "name",
        KeyKind::Text,
        "",
        "unique, whatever the case; always needed",
    ),
    key(
        "address",
        KeyKind::Text,
        "",
        "DNS name or IP address; always needed, must lie in the allowed networks (`WINRM_MANAGEMENT_CIDRS`)",
    ),
    key(
        "labs",
        KeyKind::Ids,
        "`[]`",
        "ids of the labs this host serves, text or number; the first host of a lab wins",
    ),
    key(
        "winrm_credential_ref",
        KeyKind::Text,
        "",
        "name of a stored credential, instead of `winrm_user` and `winrm_pass`",
    ),
    key(
        "credential_ref",
        KeyKind::Text,
        "",
        "the same, as the older worker spells it",
    ),
    key(
        "winrm_user",
        KeyKind::Secret,
        "",
        r"`DOMAIN\user`, `.\user`, `user@REALM` or `user`",
    ),
    key("winrm_pass", KeyKind::Secret, "", "the account's password"),
    key(
        "winrm_transport",
        KeyKind::Word(TRANSPORT_WORDS),
        "`ntlm`",
        "how we prove who we are: the words below",
    ),
    key(
        "winrm_port",
        KeyKind::Number(1, 65_535),
        "5985, with TLS 5986",
        "port of the WinRM listener",
    ),
    key(
        "winrm_use_ssl",
        KeyKind::Switch,
        "see below",
        "TLS; on by itself with port 5986 and the words `ssl` and `certificate`",
    ),
    key(
        "use_ssl",
        KeyKind::Switch,
        "",
        "the same; `winrm_use_ssl` goes before it",
    ),
    key(
        "winrm_ca_file",
        KeyKind::Text,
        "system's authorities",
        "PEM file with the authorities, or the host's own certificate, to believe",
    ),
    key(
        "winrm_cert_sha256",
        KeyKind::Text,
        "",
        "SHA-256 of the one certificate to believe, instead of `winrm_ca_file`; its name is then not looked at",
    ),
    key(
        "tls_server_name",
        KeyKind::Text,
        "`address`",
        "the name in the host's certificate",
    ),
    key(
        "winrm_realm",
        KeyKind::Text,
        "from `winrm_user`",
        "`kerberos`: realm of the account",
    ),
    key(
        "winrm_kdc",
        KeyKind::Texts,
        "from `krb5.conf`",
        "`kerberos`: the realm's KDCs, a text or a list of at most 8: `host`, `host:port`, `[ipv6]:port`",
    ),
    key(
        "winrm_kerberos_host",
        KeyKind::Text,
        "`tls_server_name`, else `address`",
        "`kerberos`: the host's name in its service `HTTP/<name>`",
    ),
    key(
        "winrm_client_cert",
        KeyKind::Text,
        "",
        "`certificate`: PEM file with our certificate, intermediate ones after it",
    ),
    key(
        "winrm_client_key",
        KeyKind::Text,
        "",
        "`certificate`: PEM file with its key, not encrypted; may be the same file",
    ),
    key(
        "mac",
        KeyKind::Text,
        "",
        "hardware address that the magic packet names; without it the host is not woken",
    ),
    key(
        "broadcast",
        KeyKind::Text,
        "`255.255.255.255`",
        "where the magic packet is sent",
    ),
    key("wol_port", KeyKind::Number(1, 65_535), "9", "its UDP port"),
    key(
        "wol_interface",
        KeyKind::Text,
        "as routed",
        "interface it leaves by",
    ),
    key(
        "wol_source",
        KeyKind::Text,
        "as routed",
        "IPv4 address it leaves from",
    ),
    key(
        "wol_password",
        KeyKind::Secret,
        "",
        "SecureOn password of the card, 4 or 6 bytes",
    ),
    key(
        "wake_attempts",
        KeyKind::Number(1, 100),
        "3",
        "packets of one wake, 1 to 100",
    ),
    key(
        "ping_target",
        KeyKind::Text,
        "`address`",
        "what is probed to see whether the host is up",
    ),
    key(
        "labstation_exe",
        KeyKind::Text,
        r"`C:\LabStation\LabStation.exe`",
        "the station's program",
    ),
    key(
        "heartbeat_path",
        KeyKind::Text,
        r"`C:\LabStation\labstation\data\telemetry\heartbeat.json`",
        "the heartbeat",
    ),
    key(
        "events_path",
        KeyKind::Text,
        r"`...\telemetry\session-guard-events.jsonl`",
        "the session guard's events",
    ),
    key(
        "watch",
        KeyKind::Switch,
        "`false`",
        "on: the station reports changes within seconds over one request that is held, instead of being polled",
    ),
    key(
        LOCAL_MODE_FLAG,
        KeyKind::Text,
        r"`local-mode.flag` in the station's data folder",
        "the file that stands for local mode; its name ends in `.flag`",
    ),
];

/// Read by those who act on it, from what an entry has beside the fields of a host.
const LOCAL_MODE_FLAG: &str = "local_mode_flag_path";

/// Whether an entry's key is read.
pub(super) fn is_known(name: &str) -> bool {
    CATALOG_KEYS.iter().any(|key| key.name == name)
}

/// Whether an entry's key is kept beside the fields of a host.
pub(super) fn is_extra(name: &str) -> bool {
    name == LOCAL_MODE_FLAG || (!is_known(name) && !is_comment(name))
}

/// Whether a key is there for people and editors only.
pub(super) fn is_comment(name: &str) -> bool {
    name == "$schema" || name.starts_with("//") || name.starts_with("_comment")
}

/// The key that an unknown one was probably meant to be.
pub(super) fn meant<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = name.trim().to_lowercase().replace(['-', ' '], "_");
    let scored = known.map(|known| (strsim::normalized_damerau_levenshtein(&plain, known), known));
    scored
        .filter(|(score, _)| *score > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

/// The table of keys of the guide `docs/hosts.md`.
#[must_use]
pub fn catalog_table() -> String {
    let mut table = String::from("| key | default | meaning |\n|---|---|---|\n");
    for key in CATALOG_KEYS {
        let default = if key.default.is_empty() { "-" } else { key.default };
        let secret = if key.kind == KeyKind::Secret {
            "*secret*; "
        } else {
            ""
        };
        table.push_str(&format!(
            "| `{}` | {default} | {secret}{} |\n",
            key.name, key.meaning
        ));
    }
    table
}
