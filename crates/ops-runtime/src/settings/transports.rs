//! Which hosts may be spoken to at all, by how they are spoken to.

use lab_model::{Host, Problem, TRANSPORT_WORDS, Transport};

use super::WinrmSettings;
use super::source::Source;

const ALLOWED: &str = "WINRM_ALLOWED_TRANSPORTS";
const TLS: &str = "OPS_WINRM_REQUIRE_TLS";

/// The words of `winrm_transport` that hosts may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedTransports(Vec<&'static str>);

impl AllowedTransports {
    /// Whether a host may be spoken to in its way. `plaintext` is `basic`; `ssl` is `basic` within TLS.
    #[must_use]
    pub fn allow(&self, transport: &Transport, use_tls: bool) -> bool {
        self.0.iter().any(|word| match (*word, transport) {
            ("basic" | "plaintext", Transport::Basic) => true,
            ("ssl", Transport::Basic) => use_tls,
            (word, transport) => word == transport.word() && !matches!(transport, Transport::Basic),
        })
    }
}

pub(super) fn allowed(source: &mut Source) -> Option<AllowedTransports> {
    let text = source.non_empty(ALLOWED)?;
    let mut words = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match TRANSPORT_WORDS
            .iter()
            .find(|word| word.eq_ignore_ascii_case(part))
        {
            Some(word) => words.push(*word),
            // Lists of the older worker have it; no host can, since it is refused in `hosts.json`.
            None if part.eq_ignore_ascii_case("credssp") => {
                source
                    .warnings
                    .push(format!("{ALLOWED}: \"credssp\" is not supported"));
            }
            None => {
                let known = TRANSPORT_WORDS.join(", ");
                source.problem(ALLOWED, format!("{part:?} is none of {known}"));
            }
        }
    }
    Some(AllowedTransports(words))
}

/// What the settings say against the way a host is spoken to.
#[must_use]
pub fn transport_refusal(host: &Host, settings: &WinrmSettings) -> Option<Problem> {
    let winrm = &host.winrm;
    let problem = |key: &str, message: String| {
        Some(Problem {
            host: host.name.to_string(),
            key: key.to_owned(),
            message,
        })
    };
    if let Some(allowed) = &settings.allowed_transports
        && !allowed.allow(&winrm.transport, winrm.use_tls)
    {
        let (word, list) = (winrm.transport.word(), allowed.0.join(","));
        return problem(
            "winrm_transport",
            format!("{word:?} is not allowed by {ALLOWED}={list}"),
        );
    }
    if settings.require_tls && !winrm.use_tls {
        return problem("winrm_use_ssl", format!("TLS is off, but {TLS} asks for it"));
    }
    None
}
