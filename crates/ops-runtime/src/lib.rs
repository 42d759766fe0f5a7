//! What `ops-api` and `ops-scheduler` share: settings from the environment, logging, and the wiring of database,
//! hosts and engine into one [`Site`].
//!
//! A service first makes a [`Plan`] (settings and catalog, everything checked, nothing touched), then opens the
//! [`Site`] in the background: a database that is down is waited for, and whoever asks meanwhile is told so.

mod command_line;
mod logging;
mod membership;
mod plan;
pub mod settings;
mod signals;
mod site;

pub use command_line::{CommandLine, Startup, start_up};
pub use logging::{Chain, init as init_logging};
pub use membership::{Membership, exit_code};
pub use plan::{Plan, PlanError};
pub use settings::Settings;
pub use signals::stop_requested;
pub use site::{Engine, Site, SiteHandle};
