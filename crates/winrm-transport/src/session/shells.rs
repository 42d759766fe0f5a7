//! The shells of a session: made, renewed, remembered when nobody confirmed them, deleted.

use std::time::Duration;

use tokio::time::timeout;

use super::{Session, refused};
use crate::command::{Command, Surroundings};
use crate::error::{Error, Stage};
use crate::exchange::Reply;
use crate::peer::{Counters, Whereabouts};
use crate::soap::{self, codes, request};

/// After this the host deletes a shell that nobody used: what is left of a client that died.
const SHELL_IDLE: Duration = Duration::from_secs(15 * 60);
/// How long the deletion of an old shell may hold up a new one.
const DELETE_OLD: Duration = Duration::from_secs(2);
/// Shells whose creation or deletion was never confirmed; more than this are left to the host.
const MAX_ORPHANS: usize = 8;

/// The shell that commands usually run in.
pub(super) struct Shell {
    pub(super) id: String,
    pub(super) commands: u32,
}

impl Session {
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
        // Seldom needed and large, as is the next one.
        let id = Box::pin(self.create(at, &Surroundings::default())).await?;
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
        let id = Box::pin(self.create(at, command.surroundings())).await?;
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

    pub(crate) fn count_command(&mut self, shell: &str) {
        Counters::add(&self.peer.counters.commands);
        if let Some(shell) = self.shell.as_mut().filter(|known| known.id == shell) {
            shell.commands += 1;
        }
    }

    pub(crate) fn has_shells(&self) -> bool {
        self.shell.is_some() || !self.orphans.is_empty()
    }

    /// Whether there may be shells on the host that no call uses any more.
    pub(crate) fn has_orphans(&self) -> bool {
        !self.orphans.is_empty()
    }

    /// The shell is gone, or nobody knows.
    pub(crate) fn forget_shell(&mut self, id: &str) {
        self.shell.take_if(|shell| shell.id == id);
        self.orphans.retain(|orphan| orphan != id);
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

    pub(super) fn remember_orphan(&mut self, id: String) {
        if self.orphans.len() == MAX_ORPHANS {
            self.orphans.remove(0);
        }
        self.orphans.push(id);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::account::Account;
    use crate::peer::Peer;
    use crate::settings::{Endpoint, Settings, SettingsError};

    #[test]
    fn of_too_many_orphans_the_oldest_are_left_to_the_host() {
        let account = Account::parse("user", "pw".to_owned().into()).unwrap();
        let settings = Settings::new(Endpoint::http("127.0.0.1", 5985), account);
        let peer = Peer::new(settings, |_| Err(SettingsError::NoSystemRoots)).unwrap();
        let mut session = Session::new(Arc::new(peer));
        for n in 0..MAX_ORPHANS + 3 {
            session.remember_orphan(n.to_string());
        }
        let expected: Vec<_> = (3..MAX_ORPHANS + 3).map(|n| n.to_string()).collect();
        assert_eq!(session.orphans, expected);
    }
}
