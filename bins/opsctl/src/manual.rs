//! The manual, written from the command line's own description so that it cannot differ from it.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command, CommandFactory as _};

use crate::cli::Cli;
use crate::exit::Exit;

const INTRODUCTION: &str = "\
# opsctl

A command line over the HTTP API: look at hosts and reservations, and have things done. This page is written by the
program itself (`opsctl manual > docs/opsctl.md`); a test holds them together.

```console
$ export OPSCTL_URL=https://gateway.example/ops OPSCTL_TOKEN_FILE=~/.ops-token
$ opsctl hosts --verdict silent              # who has not been heard of
$ opsctl explain --host lab-ws-01            # why nothing happens there, in one line
$ opsctl reservations --lab 12 --from -1d    # since yesterday at this time
$ opsctl wake lab-ws-01                      # follows the work; Ctrl-C leaves it to the service
$ opsctl run lab-ws-01 status-json           # options of opsctl come before the host
$ opsctl start 0xab12 --host lab-ws-01 --guard-grace 30s
$ opsctl end 0xab12 --host lab-ws-01 --power shutdown --detach
$ opsctl operation 6f1c0a52 --follow
$ opsctl maintenance lab-ws-01 --reason 'new disk' --until 2h
$ opsctl watch --json | jq -r .data.host     # heartbeats, one document per line
$ opsctl history lab-ws-01 ready --from -7d --step 6h
$ opsctl events --follow --json | jq -r .payload.user
```

## Who you are, and where the service is

The address is `--url`, else `OPSCTL_URL`, else `http://127.0.0.1:8081`; with a proxy in front it has the proxy's path
(`https://gateway.example/ops`). The token comes from `--token-file`, else `OPSCTL_TOKEN`, else the file that
`OPSCTL_TOKEN_FILE` names; never from the command line, which everybody on the machine can read. It is sent in
`X-Ops-Token`, to that address only: redirects are not followed and proxies of the environment are not used. An https
address has to convince the system's certificates or those of `--ca-file`; there is no way to switch that off.

## What is printed

Tables on a terminal, aligned text in a pipe; times in local time, with their distance from now. `--json` prints exactly
one JSON document on standard output: the service's own answer, or, when there is none, `{error, code, exitCode, ...}`.
`watch`, `hosts --watch` and `events --follow` print one document per line. Everything else goes to standard error. Control characters in
what a service or host says are shown as `\\u{1b}` and do nothing.

## Long work

`wake`, `run`, `start` and `end` hand their work over (`Prefer: respond-async` with an `Idempotency-Key`) and follow the
operation's events, or ask for its state where there are none. Ctrl-C or `--timeout` end the waiting, not the work; the
line on standard error says how to follow it. `--detach` does not wait at all and prints the operation's id.
`wake` sends the packets where the host's entry in `hosts.json` says (`broadcast`, `wol_port`), for which it asks first; the
options come before that. An order that goes to a host in maintenance is carried out, and a line on standard error says so.
When a connection breaks before the service has answered, the call is not repeated by itself: `--key` repeats it under the
same key, under which it is carried out once.
";

/// All of it, in Markdown.
#[must_use]
pub fn manual() -> String {
    let mut text = INTRODUCTION.to_owned();
    text.push_str("\n## Exit codes\n\n| code | meaning |\n|---|---|\n");
    for (exit, meaning) in Exit::ALL {
        line(&mut text, &format!("| {} | {meaning} |", exit.number()));
    }
    text.push_str("\n`run` gives 0 also for exit code 1 of `prepare-session` and `release-session`: done, with warnings.\n");
    let mut command = Cli::command();
    command.build();
    text.push_str("\n## Options of every command\n\n");
    options(
        &mut text,
        command.get_arguments().filter(|arg| arg.is_global_set()),
    );
    text.push_str("\n## Commands\n");
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        describe(&mut text, sub, "opsctl", 3);
    }
    text.push_str(COMPLETIONS);
    text
}

const COMPLETIONS: &str = "
## Completions

```console
$ opsctl completions bash > /etc/bash_completion.d/opsctl
$ opsctl completions zsh > \"${fpath[1]}/_opsctl\"
$ opsctl completions fish > ~/.config/fish/completions/opsctl.fish
```
";

fn describe(text: &mut String, command: &Command, parent: &str, depth: usize) {
    let name = format!("{parent} {}", command.get_name());
    line(text, &format!("\n{} {name}\n", "#".repeat(depth)));
    if let Some(about) = command.get_about() {
        line(text, &format!("{about}.\n"));
    }
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim();
    line(text, &format!("`{usage}`"));
    let own: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| !arg.is_global_set())
        .collect();
    if own.iter().any(|arg| is_shown(arg)) {
        text.push('\n');
        options(text, own.into_iter());
    }
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        describe(text, sub, &name, depth + 1);
    }
}

fn is_shown(arg: &Arg) -> bool {
    !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version")
}

fn options<'a>(text: &mut String, args: impl Iterator<Item = &'a Arg>) {
    for arg in args.filter(|arg| is_shown(arg)) {
        let value = arg
            .get_value_names()
            .and_then(|names| names.first())
            .map(ToString::to_string)
            .unwrap_or_default();
        let takes = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
        let mut name = match (arg.get_long(), takes) {
            (Some(long), true) => format!("`--{long} <{value}>`"),
            (Some(long), false) => format!("`--{long}`"),
            (None, _) => format!("`<{value}>`"),
        };
        if let Some(short) = arg.get_short() {
            name = format!("`-{short}`, {name}");
        }
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let possible: Vec<String> = arg
            .get_possible_values()
            .iter()
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        let possible = match possible.is_empty() || !takes {
            true => String::new(),
            false => format!(" ({})", possible.join(", ")),
        };
        let default: Vec<String> = arg
            .get_default_values()
            .iter()
            .map(|value| value.to_string_lossy().into_owned())
            .collect();
        let default = match default.is_empty() || !takes {
            true => String::new(),
            false => format!(" [default: {}]", default.join(" ")),
        };
        line(text, &format!("- {name}: {help}{possible}{default}"));
    }
}

fn line(text: &mut String, line: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_exit_code_is_in_the_manual() {
        let text = manual();
        for command in Cli::command()
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
        {
            assert!(
                text.contains(&format!("### opsctl {}\n", command.get_name())),
                "{}",
                command.get_name()
            );
        }
        assert!(text.contains("| 7 | no answer"));
        assert!(!text.contains("opsctl manual\n"));
    }
}
