//! The words the rest of Lab Ops is built from: checked ids, the clock, and the host catalog (`hosts.json`).
//!
//! No I/O, no async, no SQL: everything here is a value or a pure function, so that the decision
//! crates can be tested without a network, a database or a real clock.
//!
//! ```
//! use lab_model::{Catalog, LabId};
//!
//! let text = r#"{"hosts": [{"name": "lab-ws-01", "address": "10.0.0.11", "labs": ["7"],
//!                           "winrm_user": "LABSTATION\\svc", "winrm_pass": "env:LAB_PW"}]}"#;
//! let catalog = Catalog::parse(text, &|name| (name == "LAB_PW").then(|| "secret".to_owned()))?;
//! assert_eq!(catalog.host_for_lab(&LabId::new("7")).unwrap().name.as_str(), "lab-ws-01");
//! # Ok::<(), lab_model::CatalogError>(())
//! ```

mod catalog;
mod clock;
mod credential;
mod ids;
mod json;

pub use catalog::{
    CATALOG_KEYS, Catalog, CatalogError, CatalogKey, CertificateFiles, DEFAULT_EVENTS_PATH,
    DEFAULT_HEARTBEAT_PATH, DEFAULT_LABSTATION_EXE, Host, KerberosAccess, KeyKind, Problem, SecretRef,
    TRANSPORT_WORDS, Transport, WakeAccess, WinrmAccess, WinrmTrust, catalog_table,
};
pub use clock::{Clock, ManualClock, SharedClock, SystemClock};
pub use credential::{CredentialRef, CredentialRefError};
pub use ids::{HostName, IdError, LabId, ReservationId};
pub use json::is_false_word;
