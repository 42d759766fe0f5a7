//! Why Kerberos did not come about, by what somebody has to put right.

use std::io;

/// Who said something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg(feature = "kerberos")]
pub(super) enum Party {
    Kdc,
    Host,
}

/// Why there is no ticket, or why the host does not take it. Wrong credentials are
/// [`Error::Unauthorized`](crate::Error::Unauthorized) instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KerberosRefusal {
    /// Neither the settings nor `krb5.conf` say where to ask.
    #[error("no kdc is known for realm {realm:?}")]
    NoKdc {
        /// The realm of the account.
        realm: String,
    },
    /// No KDC of the realm could be reached, or none answered. Says nothing about the host, which was connected to
    /// before. Try later.
    #[error("no kdc of realm {realm:?} answers, last asked was {kdc}: {why}")]
    KdcSilent {
        /// The realm of the account.
        realm: String,
        /// The last of those asked, by the name it was given, and its address if it was dialled.
        kdc: String,
        /// What came of it.
        why: io::ErrorKind,
    },
    /// The KDC has no such service: the name in the inventory is an alias or an address, or the host is not joined.
    #[error("kdc knows no service {service:?}")]
    UnknownService {
        /// As asked for.
        service: String,
    },
    /// Two clocks differ by more than Kerberos allows, five minutes by custom.
    #[error("clocks differ too much: {between}")]
    ClockSkew {
        /// Whose.
        between: &'static str,
    },
    /// The host's key is not the one the ticket was made for: it was joined again, or the name belongs to another.
    #[error("host cannot read the ticket: its key is not the one the kdc has for the service")]
    WrongKey,
    /// No cipher in common: only AES with SHA-1 is spoken.
    #[error("kdc and client have no cipher in common")]
    NoCipher,
    /// Any other refusal.
    #[error("refused by the {by} with code {code}")]
    Code {
        /// `kdc` or `host`.
        by: &'static str,
        /// The error code of RFC 4120 section 7.5.9.
        code: u32,
    },
}

impl KerberosRefusal {
    /// Whether it may pass with nothing changed.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::KdcSilent { .. })
    }

    /// A stable name for machines.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::KdcSilent { .. } => "kdc_silent",
            _ => "kerberos",
        }
    }
}

/// What a KRB-ERROR means: the credentials are wrong, or something else has to be put right.
#[cfg(feature = "kerberos")]
pub(super) enum Meaning {
    /// With the name of what is wrong.
    Credentials(&'static str),
    Refusal(KerberosRefusal),
}

/// Source: RFC 4120 section 7.5.9.
#[cfg(feature = "kerberos")]
pub(super) fn meaning(code: u32, by: Party, service: &str) -> Meaning {
    let refusal = match (by, code) {
        (Party::Kdc, 6) => return Meaning::Credentials("user name, unknown to the kdc"),
        (Party::Kdc, 18) => return Meaning::Credentials("account, disabled or locked by the kdc"),
        (Party::Kdc, 1 | 23) => {
            return Meaning::Credentials("password or account, expired according to the kdc");
        }
        (Party::Kdc, 24 | 31) => return Meaning::Credentials("password, refused by the kdc"),
        (Party::Kdc, 7) => KerberosRefusal::UnknownService {
            service: service.to_owned(),
        },
        (Party::Kdc, 14) => KerberosRefusal::NoCipher,
        (Party::Kdc, 37) => KerberosRefusal::ClockSkew {
            between: "ours and the kdc's",
        },
        (Party::Host, 32 | 33 | 37) => KerberosRefusal::ClockSkew {
            between: "the host's and ours",
        },
        (Party::Host, 31 | 35 | 44 | 45) => KerberosRefusal::WrongKey,
        (Party::Kdc, code) => KerberosRefusal::Code { by: "kdc", code },
        (Party::Host, code) => KerberosRefusal::Code { by: "host", code },
    };
    Meaning::Refusal(refusal)
}
