//! `opsctl`: a command line over the HTTP API.
//!
//! It knows the API's documents and nothing else of this project: whatever speaks the same HTTP can be behind the
//! address. Each command is one file in `commands/`; the API's calls and their answers are in `client/`; `output/`
//! makes text of them. Nothing a server says reaches a terminal before its control characters were made harmless.
//!
//! ```console
//! $ opsctl --url https://gateway.example/ops --token-file ~/.ops-token hosts --verdict silent
//! $ opsctl --json explain --host lab-ws-01 | jq -r .summary
//! ```

mod exit;

mod cli;
mod settings;
mod when;

mod client;
mod commands;
mod output;

mod manual;

use std::process::ExitCode;

use clap::Parser as _;

pub use manual::manual;

/// Reads the command line, carries it out, and says how it went.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // What cannot be printed has nobody who reads it.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(commands::run(cli)).into(),
        Err(error) => {
            output::complain(&format!("cannot start: {error}"));
            exit::Exit::Failed.into()
        }
    }
}
