//! What commands take that have something done.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::when;

/// How to hand over a long call.
#[derive(Debug, Args)]
pub(crate) struct LongArgs {
    /// Do not wait: print where the work can be followed
    #[arg(long)]
    pub(crate) detach: bool,
    /// The key under which the call is carried out once, however often it is sent [default: a new one]
    #[arg(long, value_name = "KEY", value_parser = key)]
    pub(crate) key: Option<String>,
}

/// Whom to wake, and how.
#[derive(Debug, Args)]
pub(crate) struct WakeArgs {
    /// The host's name
    pub(crate) host: String,
    /// How many packets to send at most
    #[arg(long)]
    pub(crate) attempts: Option<u32>,
    /// How long to wait for an answer after each packet
    #[arg(long, value_name = "DURATION", value_parser = when::duration)]
    pub(crate) wait: Option<Duration>,
    /// Where to send the packets: a broadcast address of the host's network [default: the `broadcast` of the host's entry]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) broadcast: Option<std::net::Ipv4Addr>,
    /// To which port [default: the `wol_port` of the host's entry]
    #[arg(long)]
    pub(crate) port: Option<u16>,
    #[command(flatten)]
    pub(crate) long: LongArgs,
}

/// What to run, and where.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) long: LongArgs,
    /// The host's name
    pub(crate) host: String,
    /// The station's command, such as status-json, and its arguments; options of opsctl itself come before it
    // One list, so that nothing behind the command's name is taken for an option of ours.
    #[arg(required = true, num_args = 1.., value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) line: Vec<String>,
}

/// What to start.
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// The reservation's id
    pub(crate) id: String,
    /// The host's name
    #[arg(long)]
    pub(crate) host: String,
    /// The lab, for the record
    #[arg(long)]
    pub(crate) lab: Option<String>,
    /// Leave the waking out
    #[arg(long)]
    pub(crate) no_wake: bool,
    /// Leave the preparing out
    #[arg(long)]
    pub(crate) no_prepare: bool,
    /// How long whoever is logged on is warned before the log-off
    #[arg(long, value_name = "DURATION", value_parser = when::duration, conflicts_with = "prepare_arg")]
    pub(crate) guard_grace: Option<Duration>,
    /// An argument of prepare-session instead of the usual ones; may be repeated
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub(crate) prepare_arg: Vec<String>,
    #[command(flatten)]
    pub(crate) long: LongArgs,
}

/// What to end.
#[derive(Debug, Args)]
pub(crate) struct EndArgs {
    /// The reservation's id
    pub(crate) id: String,
    /// The host's name
    #[arg(long)]
    pub(crate) host: String,
    /// The lab, for the record
    #[arg(long)]
    pub(crate) lab: Option<String>,
    /// Leave the releasing out
    #[arg(long)]
    pub(crate) no_release: bool,
    /// An argument of release-session instead of --reboot; may be repeated
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub(crate) release_arg: Vec<String>,
    /// Power the host down afterwards
    #[arg(long, value_name = "MODE", value_parser = ["shutdown", "hibernate"])]
    pub(crate) power: Option<String>,
    #[command(flatten)]
    pub(crate) long: LongArgs,
}

/// Which host, and why or until when.
#[derive(Debug, Args)]
pub(crate) struct MaintenanceArgs {
    /// The host's name
    pub(crate) host: String,
    /// Why, for whoever wonders
    #[arg(long, required_unless_present = "end")]
    pub(crate) reason: Option<String>,
    /// Who has it in hand
    #[arg(long, conflicts_with = "end")]
    pub(crate) owner: Option<String>,
    /// Until when: 2h, 17:00, "2026-03-01 09:00", 2026-03-01T09:00:00Z; for good when not given
    #[arg(long, conflicts_with = "end")]
    pub(crate) until: Option<String>,
    /// Give the host back
    #[arg(long, conflicts_with = "reason")]
    pub(crate) end: bool,
}

/// What to do with a scheduler.
#[derive(Debug, Subcommand)]
pub(crate) enum WorkersOrder {
    /// Keeps new work from a scheduler
    Cordon {
        /// The worker's name
        name: String,
        /// Why, for whoever wonders
        #[arg(long)]
        reason: String,
    },
    /// Lets a scheduler take work again
    Uncordon {
        /// The worker's name
        name: String,
    },
}

/// A key as the service takes it.
fn key(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 128 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("at most 128 printable characters of ASCII, no blanks".into());
    }
    Ok(text.to_owned())
}
