//! What `ops-api` and `ops-scheduler` share: settings from the environment, logging, and the wiring of database,
//! hosts and engine into one [`Site`].
//!
//! A service first makes a [`Plan`] (settings and catalog, everything checked, nothing touched), then opens the
//! [`Site`] in the background: a database that is down is waited for, and whoever asks meanwhile is told so.

mod command_line;
mod credentials;
mod descriptors;
mod escaped;
mod health;
pub mod http;
mod journal;
mod logging;
mod membership;
pub mod metrics;
mod need;
mod notices;
mod once;
mod plan;
mod reload;
mod service;
pub mod settings;
mod signals;
mod site;
pub mod traces;

pub use command_line::{CommandLine, Startup, start_up};
pub use credentials::{StoredCredentials, hosts_of};
pub use health::{Check, Health, HealthReport};
pub use logging::{Chain, init as init_logging};
pub use membership::{Membership, exit_code};
pub use need::{Demand, Needs};
pub use notices::Notices;
pub use once::connect_once;
pub use plan::{Plan, PlanError};
pub use reload::{ReloadError, Reloaded, tell as tell_reloaded};
pub use service::{Reloading, tell_service_manager, tell_stopping};
pub use settings::Settings;
pub use signals::{Signals, reload_on_hangup, stop_requested};
pub use site::{Engine, Site, SiteHandle};
