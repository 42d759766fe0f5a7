//! A service's place in the registry of workers: kept in the background, from the moment the database is reached.

use std::process::ExitCode;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use worker_registry::{
    Capabilities, Departure, Duty, Member, Ownership, Progress, Pulse, Registration, Settings,
};

use crate::site::SiteHandle;

/// How long leaving may take once it was asked for.
const LEAVING: Duration = Duration::from_secs(5);

/// The service's place among the workers.
///
/// Until the site is open and the name is registered, nothing is the service's own; the same holds when the database
/// was away for longer than 12 s, since others may take over after 15 s.
#[derive(Debug)]
pub struct Membership {
    ownership: Ownership,
    progress: Progress,
    departed: watch::Receiver<Option<Departure>>,
    drain: CancellationToken,
    leave: CancellationToken,
    task: JoinHandle<()>,
}

impl Membership {
    /// Registers as `<role>@<worker name>` as soon as the site is open. `duties` are those it takes shards of.
    #[must_use]
    pub fn join(handle: &SiteHandle, role: &'static str, duties: &[Duty]) -> Self {
        let (gone, departed) = watch::channel(None);
        let (drain, leave) = (CancellationToken::new(), CancellationToken::new());
        let progress = Progress::default();
        let capabilities = Capabilities::new(duties.iter().copied());
        let name = &handle.settings().worker_name;
        let who = Registration::new(role, name, capabilities, env!("CARGO_PKG_VERSION"));
        let (member, ownership) = Member::new(who, Settings::default(), progress.clone());
        let living = live(handle.clone(), member, drain.clone(), leave.clone());
        let task = tokio::spawn(async move {
            if let Some(departure) = living.await {
                gone.send_replace(Some(departure));
                gone.closed().await;
            }
        });
        Self {
            ownership,
            progress,
            departed,
            drain,
            leave,
            task,
        }
    }

    /// A view on what is this service's own: nothing, before the site is open.
    #[must_use]
    pub fn ownership(&self) -> Ownership {
        self.ownership.clone()
    }

    /// Counts one of the service's main loops in, so that the registry shows when it is stuck.
    #[must_use]
    pub fn pulse(&self, name: &'static str) -> Pulse {
        self.progress.pulse(name)
    }

    /// The marks of all main loops that were counted in.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Waits until the service has lost its place against its will: the process has to stop, with the exit code of
    /// [`exit_code`].
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn departed(&self) -> Departure {
        let mut departed = self.departed.clone();
        if let Ok(departure) = departed.wait_for(Option::is_some).await
            && let Some(departure) = departure.clone()
        {
            return departure;
        }
        std::future::pending().await
    }

    /// Takes nothing new, and lets others take what was this service's own. What is under way goes on.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// Leaves in good order, within a few seconds.
    pub async fn leave(self) {
        self.leave.cancel();
        drop(self.departed);
        if tokio::time::timeout(LEAVING, self.task).await.is_err() {
            tracing::warn!("no time to leave the registry, the leases end by themselves");
        }
    }
}

/// Gives how it ended against its will; `None` when it was asked to leave.
async fn live(
    handle: SiteHandle,
    member: Member,
    drain: CancellationToken,
    leave: CancellationToken,
) -> Option<Departure> {
    let site = leave.run_until_cancelled(handle.opened()).await??;
    let database = site.database.clone();
    let running = Box::new(move || site.engine.running());
    match Box::pin(member.run(database, running, drain, leave)).await {
        Departure::Left => None,
        departure => Some(departure),
    }
}

/// What a process ends with that lost its place: 5 when its name is another's, 6 when it was replaced, else 1.
#[must_use]
pub fn exit_code(departure: &Departure) -> ExitCode {
    ExitCode::from(match departure {
        Departure::Left => 0,
        Departure::NameTaken(_) => 5,
        Departure::Replaced(_) => 6,
        Departure::Unfit(_) => 1,
    })
}
