//! What is done when a host is full, and with what an earlier life of the program left there.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::shells::Shell;
use super::{Session, refused};
use crate::error::{Error, Stage};
use crate::exchange::Reply;
use crate::peer::Whereabouts;
use crate::soap::{self, ShellEntry, request};

/// How long a host whose quota is used up is left alone after we have freed what we could.
pub(crate) const RECYCLE_PAUSE: Duration = Duration::from_secs(60);
/// How long freeing may take.
const RECYCLE: Duration = Duration::from_secs(5);
/// Answers of one enumeration; more are left for the next sweep.
const MAX_PULLS: usize = 16;

impl Session {
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
}
