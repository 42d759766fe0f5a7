//! What a client keeps between calls: one connection and one shell.

mod recycle;
mod refused;
mod shells;

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use crate::connect;
use crate::error::{Error, LostBecause, Stage};
use crate::exchange::{Connection, ExchangeError, Reply};
use crate::handshake;
use crate::peer::{Peer, Whereabouts};
use crate::soap::request::{self, Request, SignalCode};

pub(crate) use self::recycle::RECYCLE_PAUSE;
pub(crate) use self::refused::refused;
use self::shells::Shell;

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

/// A session in the hands of one call. What only calls need is let go of with it.
pub(crate) struct Turn(OwnedMutexGuard<Session>);

impl Turn {
    pub(crate) fn new(session: OwnedMutexGuard<Session>) -> Self {
        Self(session)
    }
}

impl Deref for Turn {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.0
    }
}

impl DerefMut for Turn {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.0
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.rest();
    }
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

    /// Lets go of what nobody needs until the next call.
    fn rest(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.rest();
        }
        self.connection.take_if(|connection| !connection.is_open());
    }

    /// Starts the next call from nothing, but still deletes the shell when it can.
    pub(crate) fn abandon(&mut self) {
        self.connection = None;
        if let Some(shell) = self.shell.take() {
            self.remember_orphan(shell.id);
        }
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
            let connection = match self.connection.take().filter(Connection::is_fresh) {
                Some(connection) => connection,
                // Seldom needed, and several times as large as what follows: not a part of every call's future.
                None => Box::pin(self.connect(at)).await?,
            };
            at.set(during);
            // In a box too: there are many calls in the future of one command, of which one at a time is under way.
            match Box::pin(connection.exchange(during, request)).await {
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

    async fn connect(&mut self, at: &Whereabouts) -> Result<Connection, Error> {
        self.peer.check_basic()?;
        let stream = connect::open(&self.peer, at).await?;
        at.set(Stage::Handshake);
        let mut connection = Connection::start(self.peer.clone(), stream).await?;
        handshake::authenticate(&mut connection, &self.peer).await?;
        tracing::debug!(endpoint = %self.peer.settings.endpoint, "connected");
        Ok(connection)
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
}
