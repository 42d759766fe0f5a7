//! The command line.

mod looks;
mod orders;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub(crate) use looks::{
    AuditArgs, EventsArgs, ExplainArgs, FIELDS, HistoryArgs, HostsArgs, OperationsArgs, Page,
    ReservationsArgs, WatchArgs, Window,
};
pub(crate) use orders::{EndArgs, LongArgs, MaintenanceArgs, RunArgs, StartArgs, WakeArgs, WorkersOrder};

use crate::when;

/// Looks at hosts and reservations, and has things done, over the HTTP API of ops-api
#[derive(Debug, Parser)]
#[command(
    name = "opsctl",
    version,
    about,
    max_term_width = 110,
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Where the service is, with the path prefix of a proxy if there is one [default: http://127.0.0.1:8081, or OPSCTL_URL]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// A file whose first line is the token [or: OPSCTL_TOKEN, OPSCTL_TOKEN_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Certificates (PEM) to trust besides those of the system, for an https address
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// How long to wait for the answer [default: 30s; 15m for wake, run, start, end and poll; none for streams]
    #[arg(long, global = true, value_name = "DURATION", value_parser = when::duration)]
    pub(crate) timeout: Option<Duration>,
    /// How often to try again when the service is busy and says when to come back
    #[arg(long, global = true, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=20))]
    pub(crate) retries: u32,
    /// Print one JSON document (or one per line for streams) on standard output, and nothing else there
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// When to colour; NO_COLOR is honoured by `auto`
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto, value_name = "WHEN")]
    pub(crate) color: Colour,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    Auto,
    Always,
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Lists the hosts, how fresh each is, and who has it now and next
    Hosts(HostsArgs),
    /// Shows all about one host
    Host {
        /// The host's name
        name: String,
    },
    /// Lists reservations
    Reservations(ReservationsArgs),
    /// Shows all that was done for one reservation
    Timeline {
        /// The reservation's id
        id: String,
        #[command(flatten)]
        page: Page,
    },
    /// Says what happens next to a reservation or host, what it waits for, and why the last try failed
    Explain(ExplainArgs),
    /// Wakes a host and waits until it can be reached
    Wake(WakeArgs),
    /// Runs one station command on a host
    Run(RunArgs),
    /// Wakes and prepares a host for a reservation
    Start(StartArgs),
    /// Releases a host from a reservation
    End(EndArgs),
    /// Reads a station's heartbeat now
    Poll {
        /// The host's name
        host: String,
        /// Leave out the last event
        #[arg(long)]
        no_events: bool,
    },
    /// Shows heartbeats as they come in, until Ctrl-C
    Watch(WatchArgs),
    /// Tells how one thing of a host was over time
    History(HistoryArgs),
    /// Tells what was counted about a host, hour by hour
    Hours {
        /// The host's name
        host: String,
        #[command(flatten)]
        window: Window,
    },
    /// Lists what the stations' guards did, oldest first
    Events(EventsArgs),
    /// Lists what was done lately, newest first
    Operations(OperationsArgs),
    /// Shows one operation, with its steps
    Operation {
        /// The operation's id
        id: String,
        /// Follow it to its end
        #[arg(long, short)]
        follow: bool,
    },
    /// Takes a host out of use for a while, or gives it back
    Maintenance(MaintenanceArgs),
    /// Has the service read its hosts file again
    Reload,
    /// Lists who is at work; or keeps new work from a scheduler
    Workers {
        #[command(subcommand)]
        order: Option<WorkersOrder>,
    },
    /// Says how the service is
    Health,
    /// Lists who changed what
    Audit(AuditArgs),
    /// Prints completions for a shell
    Completions {
        /// For which shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Prints the manual in Markdown
    #[command(hide = true)]
    Manual,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn arguments_of_a_command_are_passed_on_as_they_are() {
        let cli = Cli::parse_from(["opsctl", "run", "h", "power", "--json", "-x", "a b"]);
        let Command::Run(run) = cli.command else {
            panic!("not a run")
        };
        assert_eq!(run.line, ["power", "--json", "-x", "a b"]);
        assert!(!cli.global.json);
    }

    #[test]
    fn no_option_takes_the_token_itself() {
        assert!(Cli::try_parse_from(["opsctl", "--token", "x", "hosts"]).is_err());
    }

    #[test]
    fn maintenance_needs_a_reason_or_an_end() {
        assert!(Cli::try_parse_from(["opsctl", "maintenance", "h"]).is_err());
        assert!(Cli::try_parse_from(["opsctl", "maintenance", "h", "--end"]).is_ok());
        assert!(Cli::try_parse_from(["opsctl", "maintenance", "h", "--end", "--reason", "x"]).is_err());
    }
}
