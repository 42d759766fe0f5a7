//! Who may call: tokens and where they are looked for, session cookies, and the door before every route.

mod door;
mod file;
mod origin;
mod peer;
mod session;
mod tokens;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub(crate) use door::{Door, Gate, admit};
pub(crate) use file::{TokenLine, problems as tokens_file_problems};
pub(crate) use peer::Trust;
pub(crate) use session::{LONGEST_SESSION_SECS, SHORTEST_SESSION_SECS};
pub(crate) use tokens::{COOKIE, TokenCheck};

/// What a caller may do; each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Look, at everything but the audit trail.
    Viewer,
    /// Act on hosts and reservations.
    Operator,
    /// Change how the service itself works.
    Admin,
}

impl Role {
    /// `viewer`, `operator` or `admin`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// The role of that name.
    pub(crate) fn find(name: &str) -> Option<Self> {
        [Self::Viewer, Self::Operator, Self::Admin]
            .into_iter()
            .find(|role| role.as_str() == name)
    }
}

/// How a caller showed who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// A token in a header, which no form of another site can set.
    Header,
    /// A cookie, which browsers send along by themselves.
    Cookie,
    /// None, since none is configured: whoever reaches loopback may call.
    Nothing,
}

/// Who calls; an extension of every request that was let in.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The name of the token, for the audit trail.
    pub(crate) name: Arc<str>,
    /// What it may do.
    pub(crate) role: Role,
    /// How it showed who it is.
    pub(crate) proof: Proof,
    /// When its session or its token ends, in seconds since 1970; `None` for a token without an end.
    pub(crate) session_until: Option<i64>,
    /// The digest of its token, if that is one of the list, from which it may be taken.
    pub(crate) listed: Option<[u8; 32]>,
}

impl Caller {
    /// Somebody who was turned away before it was known who it is.
    pub(crate) fn unknown() -> Self {
        Self {
            name: "unknown".into(),
            role: Role::Viewer,
            proof: Proof::Nothing,
            session_until: None,
            listed: None,
        }
    }
}

#[cfg(test)]
impl Caller {
    /// An operator by token.
    pub(crate) fn for_test(name: &str) -> Self {
        Self {
            name: name.into(),
            role: Role::Operator,
            proof: Proof::Header,
            session_until: None,
            listed: None,
        }
    }
}
