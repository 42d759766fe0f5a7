//! Carries out one step on one host over Wake-on-LAN and WinRM: the reservation engine's action port.
//!
//! [`StationControl`] wakes hosts rung by rung ([`WakeReport`] names the rung that failed and why), runs the
//! station's commands, reads its heartbeat, and says what it saw. Nobody above it needs to know WinRM. It
//! decides nothing about reservations, stores nothing, and never repeats a command on its own: what may have
//! taken effect is reported as such ([`StationError::effect`]).
//!
//! ```no_run
//! # async fn example(catalog: lab_model::Catalog) -> Result<(), Box<dyn std::error::Error>> {
//! use std::{sync::Arc, time::Duration};
//! use lab_model::{HostName, SystemClock};
//! use station_control::{EventsRead, Settings, SharedCatalog, StationControl};
//!
//! let control = StationControl::new(SharedCatalog::new(catalog), Settings::default(), Arc::new(SystemClock));
//! let host = HostName::parse("lab-ws-01")?;
//! let woken = control.wake(&host, &Default::default(), Duration::from_secs(180)).await;
//! if let Some(reason) = &woken.failure {
//!     return Err(reason.to_string().into());
//! }
//! let reading = control.read_heartbeat(&host, EventsRead::No, Duration::from_secs(30)).await?;
//! assert_eq!(reading.heartbeat.ready, Some(true));
//! # Ok(())
//! # }
//! ```

mod access;
mod catalog;
mod credentials;
mod settings;

mod control;
mod station;

mod wake;

mod command;
mod power;

mod events;
mod heartbeat;
mod local_mode;
mod observe;
mod poll;
mod watch;

mod adhoc;

mod error;
mod faults;
mod knock;
mod links;
mod network;

pub use access::check_entry;
pub use adhoc::{AdHocWake, WakeError, WakeRequest};
pub use catalog::SharedCatalog;
pub use command::CommandReport;
pub use control::StationControl;
pub use credentials::{Credentials, FoundAccount, NoCredential, StoredAccount};
pub use error::{Refusal, StationError};
pub use faults::faults;
pub use heartbeat::{EventsRead, HeartbeatReading};
pub use local_mode::{FlagPathError, LocalModeError, LocalModeReport, local_mode_flag};
pub use network::is_allowed;
pub use poll::{EventsAsk, PollAsk};
pub use settings::{HeartbeatPolicy, Settings, WakeSettings, private_networks};
pub use wake::{Rung, RungReport, RungState, WakeReport};
pub use watch::{Watch, WatchAsk};
/// What may have happened on a host; re-exported because errors speak of it.
pub use winrm_transport::Effect;
/// What the connections to hosts did.
pub use winrm_transport::Stats;
