//! What the program does beside serving: one order, and it ends.

mod credentials;
mod token;

use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;

use ops_runtime::CommandLine;

pub use credentials::CredentialsCommand;
pub use token::TokenCommand;

/// One order.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Stores, lists, imports and re-encrypts the WinRM credentials that hosts.json names
    #[command(subcommand)]
    Credentials(CredentialsCommand),
    /// Makes tokens for callers of the API
    #[command(subcommand)]
    Token(TokenCommand),
}

impl Command {
    /// Carries the order out and says what came of it. 2 means that the configuration or the order is at fault, 1 that
    /// something could not be done.
    pub async fn run(self, line: &CommandLine) -> ExitCode {
        match self {
            Self::Credentials(order) => credentials::run(order, line).await,
            Self::Token(TokenCommand::New(new)) => match new.make() {
                Ok(made) => {
                    print(&made);
                    ExitCode::SUCCESS
                }
                Err(problem) => refuse(&problem),
            },
        }
    }
}

/// To standard output. Somebody who stopped reading has seen enough.
fn print(text: &impl fmt::Display) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", text.to_string().trim_end());
}

fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

fn refuse(problem: &str) -> ExitCode {
    say(problem);
    ExitCode::from(2)
}
