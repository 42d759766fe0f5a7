//! Kerberos: tickets from a key distribution center (KDC), one token to the host, and the sealing of what follows.
//!
//! `sspi` talks to the KDC and makes the token for the host. What comes back from either is judged here, before the
//! library sees it or a caller relies on it: that a ticket is the answer to our question and for the service we
//! asked for, that the host proved to know the ticket's key (mutual authentication), that no sealed message is
//! missing, repeated or out of order.
//!
//! The ticket for a service is kept in memory, with the account, until shortly before it ends. Not here: delegation, smart
//! cards, key tables, the ticket caches of other programs.
//!
//! Source: RFC 4120 (the exchanges), RFC 4121 (the token and the sealing), RFC 4559 (over HTTP), RFC 3962 (AES).

mod refusal;
mod settings;

#[cfg(feature = "kerberos")]
mod crypto;
#[cfg(all(feature = "kerberos", any(test, feature = "fuzzing")))]
pub(crate) mod fuzzing;
#[cfg(feature = "kerberos")]
mod handshake;
#[cfg(feature = "kerberos")]
mod kdc;
#[cfg(feature = "kerberos")]
mod kept;
#[cfg(feature = "kerberos")]
mod read;
#[cfg(feature = "kerberos")]
mod request;
#[cfg(feature = "kerberos")]
mod spnego;
#[cfg(feature = "kerberos")]
mod tickets;
#[cfg(feature = "kerberos")]
mod times;
#[cfg(feature = "kerberos")]
mod witness;
#[cfg(feature = "kerberos")]
mod wrap;

#[cfg(feature = "kerberos")]
pub(crate) use handshake::authenticate;
#[cfg(feature = "kerberos")]
pub(crate) use kept::Tickets;
pub use refusal::KerberosRefusal;
pub use settings::{KerberosScheme, KerberosSettings};
