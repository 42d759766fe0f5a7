//! The catalog read anew while the service runs: as a whole or not at all, here and in every process on the database.

use std::collections::BTreeMap;
use std::time::Duration;

use lab_model::{Catalog, Host, Problem};
use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;

use crate::plan::{CatalogTrouble, ReadCatalog, read_catalog};
use crate::signals::RELOAD_HOSTS;
use crate::site::SiteHandle;

/// How often a process looks whether another one was asked to reload.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What a reload changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// How many hosts there are now.
    pub hosts: usize,
    /// Names that were not there before, in alphabetical order; so are the others.
    pub added: Vec<String>,
    /// Names that are gone.
    pub removed: Vec<String>,
    /// Names whose entry says something else now, if only a password.
    pub changed: Vec<String>,
    /// What an operator should know although the file is right.
    pub warnings: Vec<String>,
}

/// The file cannot be used; the hosts are those they were.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ReloadError {
    /// Everything that is wrong with it, never the value of a secret. Without a host: the file as a whole.
    pub problems: Vec<Problem>,
}

impl SiteHandle {
    /// Reads the catalog's file again and puts it in the place of the hosts of before. What is under way on a host goes
    /// on with the entry it began with; connections that were made for an entry that changed are closed.
    ///
    /// # Errors
    /// [`ReloadError`] when anything is wrong with the file, or it is gone; nothing has changed then.
    ///
    /// # Cancel safety
    /// Cancel safe: the hosts are the old or the new ones.
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let reloaded = self.reload_now().await;
        let problems = reloaded.as_ref().err().map(|refused| refused.problems.as_slice());
        self.note_reload(problems.unwrap_or_default().iter().map(ToString::to_string));
        reloaded
    }

    async fn reload_now(&self) -> Result<Reloaded, ReloadError> {
        // One after the other, so that what each says it changed is what it changed.
        let _turn = self.reloading().lock().await;
        let settings = std::sync::Arc::clone(self.settings());
        let read = tokio::task::spawn_blocking(move || read_catalog(&settings));
        let ReadCatalog { catalog, warnings } = match read.await {
            Ok(Ok(read)) => read,
            Ok(Err(trouble)) => return Err(self.refused(trouble)),
            Err(_) => {
                return Err(whole_file(
                    "could not be read: the service is stopping".to_owned(),
                ));
            }
        };
        let before = self.catalog().current();
        let reloaded = difference(&before, &catalog, warnings);
        match self.current() {
            Some(site) => {
                site.station.replace_catalog(catalog);
                // Only a word in the log: neither the caller nor the next reload waits for it.
                let hosts = self.catalog().current();
                tokio::spawn(async move { site.credentials.warn_of_missing(&hosts).await });
            }
            None => self.catalog().replace(catalog),
        }
        Ok(reloaded)
    }

    fn refused(&self, trouble: CatalogTrouble) -> ReloadError {
        let file = self.settings().catalog_file.display();
        match trouble {
            // At a start that means no hosts; here it would take all of them away.
            CatalogTrouble::Missing => whole_file(format!("{file} does not exist")),
            CatalogTrouble::Unreadable(error) => whole_file(format!("{file} cannot be read: {error}")),
            CatalogTrouble::Wrong(problems) => ReloadError { problems },
        }
    }

    /// Reloads and says in the log what came of it; for signals, which nobody answers.
    pub(crate) async fn reload_and_tell(&self, asked_by: &str) {
        match self.reload().await {
            Ok(reloaded) => tell(&reloaded, asked_by),
            Err(error) => {
                tracing::error!(
                    asked_by,
                    "the hosts are not reloaded, those of before stay: {error}"
                );
            }
        }
    }
}

/// One line about a reload: at `debug` when nothing changed.
pub fn tell(reloaded: &Reloaded, asked_by: &str) {
    let Reloaded {
        hosts,
        added,
        removed,
        changed,
        warnings,
    } = reloaded;
    if added.is_empty() && removed.is_empty() && changed.is_empty() {
        tracing::debug!(asked_by, hosts, "the hosts were read again: nothing is new");
        return;
    }
    tracing::info!(
        asked_by,
        hosts,
        ?added,
        ?removed,
        ?changed,
        "the hosts were reloaded"
    );
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}

fn whole_file(message: String) -> ReloadError {
    ReloadError {
        problems: vec![Problem {
            host: String::new(),
            key: String::new(),
            message,
        }],
    }
}

fn difference(before: &Catalog, after: &Catalog, warnings: Vec<String>) -> Reloaded {
    let by_key = |catalog| -> BTreeMap<String, Host> {
        let hosts: &Catalog = catalog;
        let pairs = hosts.hosts().iter();
        pairs
            .map(|host| (host.name.key().to_owned(), host.clone()))
            .collect()
    };
    let (old, new) = (by_key(before), by_key(after));
    let shown = |host: &Host| host.name.to_string();
    Reloaded {
        hosts: new.len(),
        added: new
            .iter()
            .filter(|(key, _)| !old.contains_key(*key))
            .map(|(_, host)| shown(host))
            .collect(),
        removed: old
            .iter()
            .filter(|(key, _)| !new.contains_key(*key))
            .map(|(_, host)| shown(host))
            .collect(),
        changed: new
            .iter()
            .filter(|(key, host)| old.get(*key).is_some_and(|old| !is_same(old, host)))
            .map(|(_, host)| shown(host))
            .collect(),
        warnings,
    }
}

/// `Debug` shows every key that is no secret, also those a later release adds; the secrets are compared by themselves.
fn is_same(old: &Host, new: &Host) -> bool {
    old.winrm.password.expose_secret() == new.winrm.password.expose_secret()
        && old.wake.secure_on == new.wake.secure_on
        && format!("{old:?}") == format!("{new:?}")
}

/// Looks every few seconds whether any process was asked to reload, and follows; until `stop`.
pub(crate) async fn follow(handle: SiteHandle, stop: CancellationToken) {
    let Some(Some(site)) = stop.run_until_cancelled(handle.opened()).await else {
        return;
    };
    // Whatever was asked for while this process started may have come too late for its own first look at the file.
    let mut seen = 0;
    while !stop.is_cancelled() {
        match site.signals.generation(RELOAD_HOSTS).await {
            Ok(generation) if generation != seen => {
                seen = generation;
                handle.reload_and_tell("another process or an earlier call").await;
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(error = %crate::Chain(&error), "the signals cannot be read");
            }
        }
        stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(entries: &str) -> Catalog {
        Catalog::parse(&format!(r#"{{"hosts": [{entries}]}}"#), &|_| None).unwrap()
    }

    fn entry(name: &str, more: &str) -> String {
        format!(r#"{{"name": "{name}", "address": "10.0.0.1", "winrm_user": "u"{more}}}"#)
    }

    #[test]
    fn a_reload_says_what_it_changed_down_to_a_password() {
        let pass = |word: &str| format!(r#", "winrm_pass": "{word}""#);
        let wol = |word: &str| format!(r#", "winrm_pass": "p", "wol_password": "{word}""#);
        let before = [
            entry("same", &pass("p")),
            entry("Pass", &pass("old")),
            entry("wol", &wol("01:02:03:04:05:06")),
            entry("gone", &pass("p")),
        ];
        let after = [
            entry("new", &pass("p")),
            entry("wol", &wol("01:02:03:04:05:07")),
            entry("pass", &pass("new")),
            entry("same", &pass("p")),
        ];
        let reloaded = difference(
            &catalog(&before.join(",")),
            &catalog(&after.join(",")),
            Vec::new(),
        );
        assert_eq!(reloaded.hosts, 4);
        assert_eq!(reloaded.added, ["new"]);
        assert_eq!(reloaded.removed, ["gone"]);
        assert_eq!(reloaded.changed, ["pass", "wol"]);
        assert!(!format!("{reloaded:?}").contains("old"));
    }
}
