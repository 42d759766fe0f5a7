//! The handle that callers hold.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::command::Command;
use crate::connect;
use crate::error::{Error, LostBecause, Stage};
use crate::exchange::{Connection, ExchangeError, Reply, SOAP, offered, refusal};
use crate::output::{Identity, Instance, Output, Stats};
use crate::peer::{Peer, Whereabouts};
use crate::run::stream::{Answer, Running};
use crate::run::{self, Job, Streaming};
use crate::session::{Session, Turn, refused};
use crate::settings::{Settings, SettingsError};
use crate::soap::{self, request};
use crate::tls::TrustStore;

/// How long the last handle to go gives the host to delete the shell. Nobody waits for it, and what is not deleted goes on
/// for a quarter of an hour; so it may be long enough for a busy host, or for a busy machine of ours.
const LAST_WORD: Duration = Duration::from_secs(20);
/// How long the last handle to go waits for the end of the last command, before that.
const LAST_COMMAND: Duration = Duration::from_secs(20);
/// Answers' worth of output between a stream and its reader.
const CHUNKS: usize = 8;
/// A deadline beyond this is one.
pub(crate) const LONGEST: Duration = Duration::from_secs(30 * 24 * 3_600);

/// A cheap handle to one endpoint. Clones share one authenticated connection and one shell, both opened when first
/// needed and reused. Calls queue in order of arrival; waiting counts against their deadlines.
///
/// When the last clone is dropped inside a tokio runtime, the shell is deleted in the background; outside of one,
/// the host deletes it after 15 minutes.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    peer: Arc<Peer>,
    session: Arc<Mutex<Session>>,
    generation: AtomicU64,
}

impl Client {
    /// A client that has not connected yet. With HTTPS this reads certificates from files: see
    /// [`Client::with_trust`] for many clients.
    ///
    /// # Errors
    /// Settings that cannot work, and certificates that cannot be read.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        Peer::new(settings, |settings| TrustStore::load(&settings.trust)).map(Self::of)
    }

    /// A client that uses a trust decision loaded before, whatever `settings.trust` says.
    ///
    /// # Errors
    /// Settings that cannot work.
    pub fn with_trust(settings: Settings, store: &TrustStore) -> Result<Self, SettingsError> {
        Peer::new(settings, |_| Ok(store.clone())).map(Self::of)
    }

    /// Another client for the same endpoint, with a connection, a shell, a queue and [`Client::stats`] of its own, for
    /// what must not wait behind a command of this one. Until it is used it costs half a kilobyte, because it shares
    /// the settings.
    pub fn beside(&self) -> Self {
        Self::of(self.inner.peer.beside())
    }

    fn of(peer: Peer) -> Self {
        let peer = Arc::new(peer);
        let session = Arc::new(Mutex::new(Session::new(peer.clone())));
        Self {
            inner: Arc::new(Inner {
                peer,
                session,
                generation: AtomicU64::new(0),
            }),
        }
    }

    /// Runs one command until the host says that it is done. `deadline` bounds the whole call, the queue included.
    ///
    /// The command is sent at most once. When its answer is lost, the host is asked for the command's output
    /// instead; what cannot be found out is an error with [`Effect::Unknown`](crate::Effect::Unknown).
    ///
    /// # Errors
    /// See [`Error`]; [`Error::effect`] says whether the command may have run. When the deadline passes, the caller
    /// is told at once; the command is then terminated and its shell deleted, in the background and for at most
    /// 3 s, during which further calls wait.
    ///
    /// # Cancel safety
    /// Dropping the future terminates the command on the host and deletes its shell, in the background as above.
    pub async fn run(&self, command: &Command, deadline: Duration) -> Result<Output, Error> {
        let words = command.quoted()?;
        let begun = Instant::now();
        let until = begun + deadline.min(LONGEST);
        let session = self.session(begun, until).await?;
        let abandoned = CancellationToken::new();
        let waiting = abandoned.clone().drop_guard();
        let job = Job {
            command: command.clone(),
            words,
            begun,
            until,
            abandoned,
            accepted: CancellationToken::new(),
            streaming: None,
        };
        let (answer, answered) = oneshot::channel();
        tokio::spawn(run::drive(session, job, answer));
        let result = answered.await;
        waiting.disarm();
        result.unwrap_or(Err(Error::ConnectionLost {
            during: Stage::Receive,
            source: LostBecause::Shutdown,
        }))
    }

    /// Starts one command and gives its output as it comes. `deadline` bounds the command from this call to its end.
    ///
    /// ```no_run
    /// # async fn example(client: winrm_transport::Client) -> Result<(), winrm_transport::Error> {
    /// use std::time::Duration;
    /// use winrm_transport::{Command, Stream, TextDecoder};
    ///
    /// let mut running = client.start(&Command::new("ipconfig").arg("/all"), Duration::from_secs(60)).await?;
    /// let mut text = TextDecoder::default();
    /// let mut seen = String::new();
    /// while let Some(chunk) = running.next().await {
    ///     if chunk.stream == Stream::Stdout {
    ///         seen.push_str(&text.push(&chunk.bytes));
    ///     }
    /// }
    /// assert_eq!(running.exit().await?.exit_code, Some(0));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Client::run`], as far as they come before the host has accepted the command; later ones come from
    /// [`Running::exit`].
    ///
    /// # Cancel safety
    /// Dropping the future terminates the command on the host, as for [`Client::run`].
    pub async fn start(&self, command: &Command, deadline: Duration) -> Result<Running, Error> {
        let words = command.quoted()?;
        let begun = Instant::now();
        let until = begun + deadline.min(LONGEST);
        let session = self.session(begun, until).await?;
        let (abandoned, accepted) = (CancellationToken::new(), CancellationToken::new());
        let waiting = abandoned.clone().drop_guard();
        let (chunk_sender, chunks) = mpsc::channel(CHUNKS);
        let (orders, order_receiver) = mpsc::channel(1);
        let job = Job {
            command: command.clone().with_pipe(),
            words,
            begun,
            until,
            abandoned,
            accepted: accepted.clone(),
            streaming: Some(Streaming {
                chunks: chunk_sender,
                orders: order_receiver,
            }),
        };
        let (answer, mut answered) = oneshot::channel();
        tokio::spawn(run::drive(session, job, answer));
        let answer = tokio::select! {
            biased;
            () = accepted.cancelled() => Answer::Coming(answered),
            result = &mut answered => match result {
                Ok(Err(error)) if !accepted.is_cancelled() => {
                    waiting.disarm();
                    return Err(error);
                }
                Ok(result) => Answer::Known(result),
                Err(_) => return Err(Error::ConnectionLost {
                    during: Stage::Receive,
                    source: LostBecause::Shutdown,
                }),
            },
        };
        Ok(Running::new(chunks, orders, answer, waiting))
    }

    /// Deletes orphans: shells on the host that carry this client's
    /// [`shell_name`](crate::Settings::shell_name) and account and that nobody has used for
    /// [`Timeouts::orphan`](crate::Timeouts::orphan). They are what is left of a program that died. Gives how many.
    ///
    /// Hosts that do not repeat the name of a shell have no orphans, as far as this can tell.
    ///
    /// # Errors
    /// See [`Error`]. What was deleted before stays deleted.
    ///
    /// # Cancel safety
    /// Cancel safe; a dropped future costs the connection.
    pub async fn sweep(&self, deadline: Duration) -> Result<usize, Error> {
        let begun = Instant::now();
        let until = begun + deadline.min(LONGEST);
        let mut session = self.session(begun, until).await?;
        let at = Whereabouts::at(Stage::Connect);
        within(begun, until, &at, Box::pin(session.sweep(&at))).await
    }

    /// Reads a singleton by WS-Management Get, such as the CIM class `Win32_OperatingSystem`.
    ///
    /// # Errors
    /// See [`Error`]. A read has no effect.
    ///
    /// # Cancel safety
    /// Cancel safe; a dropped future costs the connection, not the shell.
    pub async fn get(&self, resource_uri: &str, deadline: Duration) -> Result<Instance, Error> {
        let begun = Instant::now();
        let until = begun + deadline.min(LONGEST);
        let mut session = self.session(begun, until).await?;
        let at = Whereabouts::at(Stage::Connect);
        let request = request::get(&self.inner.peer.addressing, resource_uri);
        let reply = within(
            begun,
            until,
            &at,
            Box::pin(session.call(&at, Stage::Get, &request)),
        )
        .await?;
        match reply {
            Reply::Envelope(envelope) => {
                soap::decode_instance(&envelope).map_err(|e| protocol(e, Stage::Get))
            }
            Reply::Fault(fault) => Err(refused(fault, Stage::Get)),
        }
    }

    /// Asks who is there, without credentials and on a connection of its own.
    ///
    /// # Errors
    /// See [`Error`].
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn identify(&self, deadline: Duration) -> Result<Identity, Error> {
        let begun = Instant::now();
        let at = Whereabouts::at(Stage::Connect);
        let answer = Box::pin(self.ask_identity(&at));
        within(begun, begun + deadline.min(LONGEST), &at, answer).await
    }

    async fn ask_identity(&self, at: &Whereabouts) -> Result<Identity, Error> {
        const DURING: Stage = Stage::Identify;
        let peer = &self.inner.peer;
        let stream = connect::open(peer, at).await?;
        at.set(DURING);
        let mut connection = Connection::start(peer.clone(), stream).await?;
        let anonymous = (
            HeaderName::from_static("wsmanidentify"),
            HeaderValue::from_static("unauthenticated"),
        );
        let body = request::identify().into_bytes();
        let sent = connection
            .post(DURING, "/wsman", SOAP, Some(anonymous), body)
            .await;
        let answer = sent.map_err(|error| match error {
            ExchangeError::Failed(error) => error,
            ExchangeError::NotSent | ExchangeError::Unauthenticated { .. } => Error::ConnectionLost {
                during: DURING,
                source: LostBecause::Closed,
            },
        })?;
        match answer.status {
            200 => {}
            401 => {
                let offered = offered(&answer.headers);
                return Err(Error::Unauthorized {
                    offered,
                    used: "no credentials",
                    step: "identify",
                });
            }
            status => return Err(refusal(status, &answer.headers, DURING)),
        }
        let root = soap::parse(answer.body, &peer.settings.limits).map_err(|e| protocol(e, DURING))?;
        soap::decode_identity(&root).map_err(|e| protocol(e, DURING))
    }

    /// Deletes the shell and closes the connection, within the given time, the queue included. The client can be
    /// used again afterwards.
    pub async fn close(&self, within: Duration) {
        let until = Instant::now() + within.min(LONGEST);
        if let Ok(mut session) = self.session(Instant::now(), until).await {
            let _ = timeout_at(until, Box::pin(bid_farewell(&mut session))).await;
            session.forget();
        }
    }

    /// Forgets connection and shell without a word to the host: it is rebooting, and will not know them any more.
    /// A call under way keeps what it has.
    pub fn disconnect(&self) {
        let generation = self.inner.generation.fetch_add(1, Ordering::Relaxed) + 1;
        if let Ok(mut session) = self.inner.session.try_lock() {
            session.refresh(generation);
        }
    }

    /// What this client and its clones have done so far.
    pub fn stats(&self) -> Stats {
        self.inner.peer.counters.stats()
    }

    pub(crate) fn output_limit(&self) -> usize {
        self.inner.peer.settings.limits.output_bytes
    }

    async fn session(&self, begun: Instant, until: Instant) -> Result<Turn, Error> {
        let queue = timeout_at(until, self.inner.session.clone().lock_owned()).await;
        let mut session = Turn::new(queue.map_err(|_| {
            let waited = begun.elapsed();
            Error::DeadlineExpired {
                waited,
                during: Stage::Queue,
                partial: None,
            }
        })?);
        session.refresh(self.inner.generation.load(Ordering::Relaxed));
        Ok(session)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoint", &self.inner.peer.settings.endpoint)
            .finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        // The lock may still be held by the end of the last command, which is then worth waiting for.
        if self.session.try_lock().is_ok_and(|session| !session.has_shells()) {
            return;
        }
        let (session, generation) = (self.session.clone(), self.generation.load(Ordering::Relaxed));
        runtime.spawn(async move {
            let Ok(mut session) = timeout(LAST_COMMAND, session.lock()).await else {
                return;
            };
            session.refresh(generation);
            let _ = timeout(LAST_WORD, Box::pin(bid_farewell(&mut session))).await;
        });
    }
}

async fn bid_farewell(session: &mut Session) {
    if session.has_shells()
        && let Err(error) = session.delete_shells(&Whereabouts::at(Stage::Delete)).await
    {
        tracing::debug!(%error, "deletion of the shell was not confirmed");
    }
}

async fn within<T>(
    begun: Instant,
    until: Instant,
    at: &Whereabouts,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout_at(until, work).await.unwrap_or_else(|_| {
        Err(Error::DeadlineExpired {
            waited: begun.elapsed(),
            during: at.get(),
            partial: None,
        })
    })
}

fn protocol(soap::Malformed(what): soap::Malformed, during: Stage) -> Error {
    Error::Protocol { what, during }
}
