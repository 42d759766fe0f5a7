//! Tells an operator's webhook what needs a person: a reservation that was given up, a step that failed, a host that
//! fails again and again or is not heard of, and that it is back.
//!
//! Whatever is told goes into an outbox in the database first ([`Outbox`], one insert, made in the background by
//! [`Teller`]), so that nothing that happens on a host waits for a webhook or fails with one. Any process with the same
//! webhooks then delivers it ([`Sender`]): a delivery is taken by one conditional update under a fencing token, tried
//! for up to 24 hours with growing waits, and may arrive twice after a crash; receivers know it again by its id.
//!
//! Which host fails repeatedly is counted in the outbox as well, so that any number of schedulers raises one alert
//! ([`AlertRules`]); of whose silence somebody was told ([`Silence`]) and which receiver wants no more notices is stored
//! beside it. It decides nothing about reservations and knows no station.
//!
//! ```
//! use notifications::{Signature, Webhook};
//!
//! let hook = Webhook::parse("https://hooks.example.org/lab-ops", &[])?;
//! assert_eq!(hook.shown(), "https://hooks.example.org/...");
//! assert!(Webhook::parse("http://hooks.example.org/lab-ops", &[]).is_err());
//!
//! // What a receiver does with the header `X-LabOps-Signature`.
//! let secret = "only the two of us know it".into();
//! let header = Signature::new(&secret).header(1_772_355_600, b"{}");
//! assert!(Signature::new(&secret).verify(&header, b"{}", 1_772_355_630, 300).is_ok());
//! # Ok::<(), notifications::WebhookError>(())
//! ```

mod error;
mod notice;
mod settings;
mod signature;

mod alerts;
mod gone;
mod outbox;
mod rows;
mod silence;

mod delivery;
mod sender;
mod teller;

pub use alerts::AlertRules;
pub use delivery::{DELIVERY_TIMEOUT, Receipt, http_client};
pub use error::OutboxError;
pub use notice::{Notice, NoticeKind, Severity};
pub use outbox::{Depth, Outbox, Stored, StoredState, UNDELIVERED_AFTER};
pub use sender::Sender;
pub use settings::{AccessToken, NotificationSettings, Webhook, WebhookError};
pub use signature::{Signature, SignatureError};
pub use silence::Silence;
pub use teller::{Teller, Told};
