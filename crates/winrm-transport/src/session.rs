//! What a client keeps between calls: one connection and one shell.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::command::{Command, Surroundings};
use crate::connect;
use crate::error::{Error, LostBecause, Stage};
use crate::exchange::{Connection, ExchangeError, Reply};
use crate::handshake;
use crate::peer::{Counters, Peer, Whereabouts};
use crate::soap::request::{self, Request, SignalCode};
use crate::soap::{self, Fault, ShellEntry, codes};

/// After this the host deletes a shell that nobody used: what is left of a client that died.
const SHELL_IDLE: Duration = Duration::from_secs(15 * 60);
/// How long the deletion of an old shell may hold up a new one.
const DELETE_OLD: Duration = Duration::from_secs(2);
/// Shells whose creation or deletion was never confirmed; more than this are left to the host.
const MAX_ORPHANS: usize = 8;
/// How long a host whose quota is used up is left alone after we have freed what we could.
pub(crate) const RECYCLE_PAUSE: Duration = Duration::from_secs(60);
/// How long freeing may take.
const RECYCLE: Duration = Duration::from_secs(5);
/// Answers of one enumeration; more are left for the next sweep.
const MAX_PULLS: usize = 16;

/// Connection and shell, owned by one call at a time.
pub(crate) struct Session {
    pub(crate) peer: Arc<Peer>,
    connection: Option<Connection>,
    shell: Option<Shell>,
    orphans: Vec<String>,
    /// The id asked for by a Create that has not been answered.
    creating: Option<String>,
    /// When a quota made us free what we could.
    recycled: Option<Instant>,
    /// Compared with the client's: a difference means that everything here is to be forgotten.
    generation: u64,
}

struct Shell {
    id: String,
    commands: u32,
}

impl Session {
    pub(crate) fn new(peer: Arc<Peer>) -> Self {
        Self {
            peer,
            connection: None,
            shell: None,
            orphans: Vec::new(),
            creating: None,
            recycled: None,
            generation: 0,
        }
    }

    /// Forgets everything, if the client said so since the last call.
    pub(crate) fn refresh(&mut self, generation: u64) {
        if self.generation != generation {
            self.generation = generation;
            self.forget();
        }
    }

    /// Forgets connection and shell without a word.
    pub(crate) fn forget(&mut self) {
        self.connection = None;
        self.shell = None;
        self.orphans.clear();
        self.creating = None;
    }

    /// Ends a creation that brought no shell. Only a Create that was on its way, `at` says so, may have left one; to
    /// look for it otherwise would cost a second authentication for nothing, and a locked account with a wrong
    /// password.
    pub(crate) fn settle(&mut self, at: Stage) {
        if let Some(id) = self.creating.take()
            && at == Stage::Create
        {
            self.remember_orphan(id);
        }
    }

    /// The shell is gone, or nobody knows.
    pub(crate) fn forget_shell(&mut self, id: &str) {
        self.shell.take_if(|shell| shell.id == id);
        self.orphans.retain(|orphan| orphan != id);
    }

    /// Starts the next call from nothing, but still deletes the shell when it can.
    pub(crate) fn abandon(&mut self) {
        self.connection = None;
        if let Some(shell) = self.shell.take() {
            self.remember_orphan(shell.id);
        }
    }

    pub(crate) fn has_shells(&self) -> bool {
        self.shell.is_some() || !self.orphans.is_empty()
    }

    /// Whether there may be shells on the host that no call uses any more.
    pub(crate) fn has_orphans(&self) -> bool {
        !self.orphans.is_empty()
    }

    /// Sends one request on an authenticated connection and reads the answer.
    ///
    /// A request that did not leave, or was refused with 401, is sent a second time on a new connection: both are
    /// certain not to have had an effect. Its ids stay the same, so that a host would also notice a 401 that
    /// somebody on a plain connection made up: it refuses a second command with an id it knows.
    ///
    /// # Cancel safety
    /// A dropped future costs the connection and nothing else.
    pub(crate) async fn call(
        &mut self,
        at: &Whereabouts,
        during: Stage,
        request: &Request,
    ) -> Result<Reply, Error> {
        let mut again = true;
        loop {
            let connection = self.connected(at).await?;
            at.set(during);
            match connection.exchange(during, request).await {
                Ok((connection, reply)) => {
                    self.connection = Some(connection);
                    return Ok(reply);
                }
                Err(ExchangeError::Failed(error)) => return Err(error),
                Err(ExchangeError::Unauthenticated { offered })
                    if self.authenticates_each_request() || !again =>
                {
                    let used = handshake::used(&self.peer);
                    return Err(Error::Unauthorized {
                        offered,
                        used,
                        step: "request",
                    });
                }
                Err(ExchangeError::NotSent) if !again => {
                    return Err(Error::ConnectionLost {
                        during: Stage::Connect,
                        source: LostBecause::Closed,
                    });
                }
                Err(ExchangeError::Unauthenticated { .. } | ExchangeError::NotSent) => again = false,
            }
        }
    }

    fn authenticates_each_request(&self) -> bool {
        use crate::settings::AuthMethod::{Basic, Certificate};
        matches!(self.peer.settings.auth, Basic | Certificate)
    }

    async fn connected(&mut self, at: &Whereabouts) -> Result<Connection, Error> {
        if let Some(connection) = self.connection.take().filter(Connection::is_fresh) {
            return Ok(connection);
        }
        self.peer.check_basic()?;
        let stream = connect::open(&self.peer, at).await?;
        at.set(Stage::Handshake);
        let mut connection = Connection::start(self.peer.clone(), stream).await?;
        handshake::authenticate(&mut connection, &self.peer).await?;
        tracing::debug!(endpoint = %self.peer.settings.endpoint, "connected");
        Ok(connection)
    }

    /// The id of a shell that takes commands, made or replaced as needed.
    pub(crate) async fn shell(&mut self, at: &Whereabouts) -> Result<String, Error> {
        let worn = self.peer.settings.limits.commands_per_shell;
        if let Some(shell) = self.shell.as_ref().filter(|shell| shell.commands < worn) {
            return Ok(shell.id.clone());
        }
        if self.has_shells() {
            // One try: what cannot be deleted now is left to the host's idle timeout.
            let deleted = timeout(DELETE_OLD, Box::pin(self.delete_shells(at))).await;
            self.orphans.clear();
            if let Ok(Err(error @ Error::Unauthorized { .. })) = deleted {
                return Err(error);
            }
        }
        let id = self.create(at, &Surroundings::default()).await?;
        self.shell = Some(Shell {
            id: id.clone(),
            commands: 0,
        });
        Ok(id)
    }

    /// The id of a shell for this command: the usual one, or one of its own, to be deleted when the command is done.
    pub(crate) async fn shell_for(&mut self, at: &Whereabouts, command: &Command) -> Result<String, Error> {
        if command.surroundings().is_usual() {
            return self.shell(at).await;
        }
        let id = self.create(at, command.surroundings()).await?;
        self.remember_orphan(id.clone());
        Ok(id)
    }

    async fn create(&mut self, at: &Whereabouts, surroundings: &Surroundings) -> Result<String, Error> {
        match self.try_create(at, surroundings).await {
            Err(Error::Quota { .. }) if self.recycle(at).await => self.try_create(at, surroundings).await,
            other => other,
        }
    }

    async fn try_create(&mut self, at: &Whereabouts, surroundings: &Surroundings) -> Result<String, Error> {
        // Our own id, so that a shell whose creation was never confirmed can still be deleted.
        let wanted = request::fresh_id();
        let name = &self.peer.settings.shell_name;
        let create = request::create(&self.peer.addressing, &wanted, name, SHELL_IDLE, surroundings);
        self.creating = Some(wanted);
        let answer = self.call(at, Stage::Create, &create).await;
        if matches!(answer, Err(Error::Unauthorized { .. })) {
            // Refused before it was looked at: there is nothing to delete, and nothing to be refused a second time.
            self.creating = None;
        }
        let envelope = match answer? {
            Reply::Envelope(envelope) => envelope,
            Reply::Fault(fault) => {
                if !codes::is_operation_timeout(fault.code) {
                    self.creating = None;
                }
                return Err(refused(fault, Stage::Create));
            }
        };
        let id = soap::shell_id(&envelope).map_err(|soap::Malformed(what)| Error::Protocol {
            what,
            during: Stage::Create,
        })?;
        self.creating = None;
        Counters::add(&self.peer.counters.shells_created);
        tracing::debug!(endpoint = %self.peer.settings.endpoint, winrm.shell_id = %id, "shell created");
        Ok(id)
    }

    /// Frees what we can when a quota of the host is used up: our shell, and orphans. Gives whether that was worth a
    /// second try. Once, then not again for [`RECYCLE_PAUSE`]: a host that is full must not be kept busy by being
    /// asked.
    pub(crate) async fn recycle(&mut self, at: &Whereabouts) -> bool {
        if self.recycled.is_some_and(|then| then.elapsed() < RECYCLE_PAUSE) {
            return false;
        }
        self.recycled = Some(Instant::now());
        let work = async {
            self.delete_shells(at).await?;
            self.sweep(at).await
        };
        match timeout(RECYCLE, Box::pin(work)).await {
            Ok(Ok(swept)) => tracing::info!(swept, "quota of the host is used up, deleted what was ours"),
            Ok(Err(error)) => tracing::info!(%error, "quota of the host is used up, and freeing failed"),
            Err(_) => tracing::info!("quota of the host is used up, and freeing took too long"),
        }
        true
    }

    fn is_orphan(&self, entry: &ShellEntry) -> bool {
        let settings = &self.peer.settings;
        let user = settings.account.user();
        let owner = entry.owner.rsplit('\\').next().unwrap_or_default();
        // Hosts name the owner of a domain account in forms of their own.
        let same_user = user.is_empty() || user.contains('@') || owner.eq_ignore_ascii_case(user);
        let current = |shell: &Shell| shell.id.eq_ignore_ascii_case(&entry.id);
        entry.name.as_deref() == Some(settings.shell_name.as_str())
            && same_user
            && !self.shell.as_ref().is_some_and(current)
            && entry.idle.is_some_and(|since| since >= settings.timeouts.orphan)
    }

    /// Deletes shells of our name and account that nobody has used for long. Gives how many.
    pub(crate) async fn sweep(&mut self, at: &Whereabouts) -> Result<usize, Error> {
        let mut next = Some(request::enumerate(&self.peer.addressing));
        let mut entries = Vec::new();
        for _ in 0..MAX_PULLS {
            let Some(request) = next.take() else { break };
            let envelope = match self.call(at, Stage::Enumerate, &request).await? {
                Reply::Envelope(envelope) => envelope,
                Reply::Fault(fault) => return Err(refused(fault, Stage::Enumerate)),
            };
            let malformed = |soap::Malformed(what)| Error::Protocol {
                what,
                during: Stage::Enumerate,
            };
            let (more, context) = soap::decode_shells(&envelope).map_err(malformed)?;
            entries.extend(more);
            next = context.map(|context| request::pull(&self.peer.addressing, &context));
        }
        let found: Vec<String> = entries
            .into_iter()
            .filter(|entry| self.is_orphan(entry))
            .map(|entry| entry.id)
            .collect();
        for id in &found {
            let request = request::delete(&self.peer.addressing, id);
            // Any answer will do: a shell that is not found needs no deleting.
            self.call(at, Stage::Delete, &request).await?;
        }
        Ok(found.len())
    }

    fn remember_orphan(&mut self, id: String) {
        if self.orphans.len() == MAX_ORPHANS {
            self.orphans.remove(0);
        }
        self.orphans.push(id);
    }

    pub(crate) fn count_command(&mut self, shell: &str) {
        Counters::add(&self.peer.counters.commands);
        if let Some(shell) = self.shell.as_mut().filter(|known| known.id == shell) {
            shell.commands += 1;
        }
    }

    /// Tells a command to end. What the host says to it does not matter: it may have ended already.
    pub(crate) async fn signal(
        &mut self,
        at: &Whereabouts,
        shell: &str,
        command: &str,
        code: SignalCode,
    ) -> Result<(), Error> {
        let request = request::signal(&self.peer.addressing, shell, command, code);
        self.call(at, Stage::Signal, &request).await.map(drop)
    }

    /// Passes on one piece of standard input. When the answer is missing nobody knows whether the program has it.
    pub(crate) async fn send(
        &mut self,
        at: &Whereabouts,
        (shell, command): (&str, &str),
        bytes: &[u8],
        end: bool,
    ) -> Result<(), Error> {
        let request = request::send(&self.peer.addressing, shell, command, bytes, end);
        match self.call(at, Stage::Send, &request).await? {
            Reply::Envelope(_) => Ok(()),
            Reply::Fault(fault) => Err(refused(fault, Stage::Send)),
        }
    }

    /// Deletes the shell, and what an unconfirmed creation may have left.
    ///
    /// # Cancel safety
    /// What was not confirmed is remembered and deleted next time.
    pub(crate) async fn delete_shells(&mut self, at: &Whereabouts) -> Result<(), Error> {
        if let Some(shell) = self.shell.take() {
            self.remember_orphan(shell.id);
        }
        self.delete_orphans(at).await
    }

    /// Deletes what no call uses any more.
    ///
    /// # Cancel safety
    /// What was not confirmed is remembered and deleted next time.
    pub(crate) async fn delete_orphans(&mut self, at: &Whereabouts) -> Result<(), Error> {
        while let Some(id) = self.orphans.last().cloned() {
            let request = request::delete(&self.peer.addressing, &id);
            // Any answer will do: a shell that is not found needs no deleting.
            self.call(at, Stage::Delete, &request).await?;
            self.orphans.retain(|orphan| *orphan != id);
        }
        Ok(())
    }
}

/// A fault as the error that says what to do.
pub(crate) fn refused(fault: Fault, during: Stage) -> Error {
    let Fault {
        code,
        subcode,
        message,
    } = fault;
    let said = |name| subcode.as_deref() == Some(name);
    if code == codes::SHELL_NOT_FOUND {
        Error::ShellGone { during }
    } else if codes::is_access_denied(code) || (code == 0 && said("AccessDenied")) {
        Error::AccessDenied { during, code }
    } else if codes::is_quota(code) || said("QuotaLimit") {
        Error::Quota { code, during }
    } else if code == codes::ABORTED {
        Error::ConnectionLost {
            during,
            source: LostBecause::Aborted { code },
        }
    } else {
        Error::Fault {
            code,
            subcode,
            message,
            during,
        }
    }
}
