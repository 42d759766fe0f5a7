//! What each command does: calls, shows, and judges how it went.

mod long;
mod looks;
mod past;
mod streams;
mod upkeep;

use clap::CommandFactory as _;
use serde_json::{Value, json};

use crate::cli::{Cli, Command};
use crate::client::{Client, ClientError};
use crate::exit::{Exit, Failure};
use crate::output::{Out, complain};
use crate::settings::{self, Connection};

/// What a command ends with.
type Ended = Result<Exit, Failure>;

/// Where a command calls and writes.
#[derive(Debug)]
struct Context {
    client: Client,
    out: Out,
}

/// Carries the command out.
pub(crate) async fn run(cli: Cli) -> Exit {
    let no_color = settings::variable("NO_COLOR").is_some_and(|value| !value.is_empty());
    let out = Out::new(cli.global.json, cli.global.color, no_color);
    let json = cli.global.json;
    match carry_out(cli, out).await {
        Ok(exit) => exit,
        Err(failure) => report(&failure, json, Out::new(json, crate::cli::Colour::Never, true)),
    }
}

async fn carry_out(cli: Cli, out: Out) -> Ended {
    match &cli.command {
        Command::Completions { shell } => return completions(*shell, &out),
        Command::Manual => {
            out.text(&crate::manual())?;
            return Ok(Exit::Done);
        }
        _ => {}
    }
    let connection = Connection::read(&cli.global, settings::variable).map_err(Failure::Usage)?;
    if connection.sends_token_in_clear() {
        complain("warning: the token crosses the network in clear text; use an https address");
    }
    let client = Client::new(&connection)?;
    dispatch(cli.command, Context { client, out }).await
}

async fn dispatch(command: Command, context: Context) -> Ended {
    let context = &context;
    match command {
        Command::Hosts(args) => looks::hosts(context, args).await,
        Command::Host { name } => looks::host(context, &name).await,
        Command::Reservations(args) => looks::reservations(context, args).await,
        Command::Timeline { id, page } => looks::timeline(context, &id, &page).await,
        Command::Explain(args) => looks::explain(context, args).await,
        Command::History(args) => past::history(context, args).await,
        Command::Hours { host, window } => past::hours(context, &host, window).await,
        Command::Events(args) => past::events(context, args).await,
        Command::Operations(args) => looks::operations(context, args).await,
        Command::Health => looks::health(context).await,
        Command::Audit(args) => looks::audit(context, args).await,
        Command::Wake(args) => long::wake(context, args).await,
        Command::Run(args) => long::run(context, args).await,
        Command::Start(args) => long::start(context, args).await,
        Command::End(args) => long::end(context, args).await,
        Command::Poll { host, no_events } => long::poll(context, &host, !no_events).await,
        Command::Operation { id, follow: false } => looks::operation(context, &id).await,
        Command::Operation { id, follow: true } => streams::follow(context, &id).await,
        Command::Watch(args) => streams::watch(context, args).await,
        Command::Maintenance(args) => upkeep::maintenance(context, args).await,
        Command::Reload => upkeep::reload(context).await,
        Command::Workers { order: None } => looks::workers(context).await,
        Command::Workers { order: Some(order) } => upkeep::workers(context, order).await,
        Command::Completions { .. } | Command::Manual => Ok(Exit::Done),
    }
}

/// One line for people, and one for each problem of a file; for programs the document as well, so that there always is one.
fn report(failure: &Failure, json: bool, out: Out) -> Exit {
    let exit = failure.exit();
    if exit == Exit::Done {
        return exit;
    }
    let hint = failure.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
    complain(&format!("{failure}{hint}"));
    if let Failure::Client(ClientError::Refused(refusal)) = failure {
        for problem in refusal.problems() {
            complain(&problem);
        }
    }
    if json {
        let mut document = match failure {
            Failure::Client(error) => error.document(),
            other => json!({"error": other.to_string(), "code": "usage"}),
        };
        if let Some(object) = document.as_object_mut() {
            object.insert("exitCode".into(), exit.number().into());
        }
        // The line above has said it already.
        let _ = out.json_line(&document);
    }
    exit
}

fn completions(shell: clap_complete::Shell, out: &Out) -> Ended {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "opsctl", &mut script);
    out.text(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

/// A document that goes to whoever waits for a type.
fn typed<T: serde::de::DeserializeOwned>(document: &Value) -> Result<T, ClientError> {
    T::deserialize(document).map_err(|why| ClientError::Unreadable { why: why.to_string() })
}

/// Waits for Ctrl-C; for ever where the system does not tell.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
