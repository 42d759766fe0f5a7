//! What a client keeps between calls: one connection and one shell.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::connect;
use crate::error::{Error, LostBecause, Stage};
use crate::exchange::{Connection, ExchangeError, Reply};
use crate::handshake;
use crate::peer::{Counters, Peer, Whereabouts};
use crate::soap::request::{self, Request, SignalCode};
use crate::soap::{self, Fault, codes};

/// After this the host deletes a shell that nobody used: what is left of a client that died.
const SHELL_IDLE: Duration = Duration::from_secs(15 * 60);
/// How long the deletion of an old shell may hold up a new one.
const DELETE_OLD: Duration = Duration::from_secs(2);
/// Shells whose creation or deletion was never confirmed; more than this are left to the host.
const MAX_ORPHANS: usize = 8;

/// Connection and shell, owned by one call at a time.
pub(crate) struct Session {
    pub(crate) peer: Arc<Peer>,
    connection: Option<Connection>,
    shell: Option<Shell>,
    orphans: Vec<String>,
    /// The id asked for by a Create that has not been answered.
    creating: Option<String>,
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
    pub(crate) fn forget_shell(&mut self) {
        self.shell = None;
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
                Err(ExchangeError::Unauthenticated { offered }) if self.basic() || !again => {
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

    fn basic(&self) -> bool {
        self.peer.settings.auth == crate::settings::AuthMethod::Basic
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
        // Our own id, so that a shell whose creation was never confirmed can still be deleted.
        let wanted = request::fresh_id();
        let create = request::create(&self.peer.addressing, &wanted, SHELL_IDLE);
        self.creating = Some(wanted);
        let envelope = match self.call(at, Stage::Create, &create).await? {
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
        self.shell = Some(Shell {
            id: id.clone(),
            commands: 0,
        });
        Ok(id)
    }

    fn remember_orphan(&mut self, id: String) {
        if self.orphans.len() == MAX_ORPHANS {
            self.orphans.remove(0);
        }
        self.orphans.push(id);
    }

    pub(crate) fn count_command(&mut self) {
        Counters::add(&self.peer.counters.commands);
        if let Some(shell) = &mut self.shell {
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

    /// Deletes the shell, and what an unconfirmed creation may have left.
    ///
    /// # Cancel safety
    /// What was not confirmed is remembered and deleted next time.
    pub(crate) async fn delete_shells(&mut self, at: &Whereabouts) -> Result<(), Error> {
        if let Some(shell) = self.shell.take() {
            self.remember_orphan(shell.id);
        }
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
