//! `opsctl`: hosts, reservations and operations from a terminal or a script.

use std::process::ExitCode;

fn main() -> ExitCode {
    opsctl::main()
}
