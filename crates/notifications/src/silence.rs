//! Which hosts an operator was told are silent: one row each until the host answers again, so that any number of
//! processes tells of one silence once, and of its end only after that.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use lab_model::HostName;
use sea_orm::{ConnectionTrait as _, Value};
use serde_json::json;
use store_support::{Tx, transaction};
use uuid::Uuid;

use crate::error::{Fault, OutboxError};
use crate::notice::{Notice, NoticeKind};
use crate::outbox::{Outbox, insert};

/// More hosts than this at once are one notice: a switch has failed, not they.
const MOST_BY_NAME: usize = 5;
/// So many hosts are listed in such a notice.
const MOST_LISTED: usize = 100;
/// So many hosts are told of by one transaction; the others have their turn at the next look.
const MOST_AT_ONCE: usize = 500;

/// A host that somebody needs and that is not heard of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// Which host.
    pub host: HostName,
    /// Since when, and why as far as is known: one line.
    pub reason: String,
}

impl Outbox {
    /// The hosts, in lower case, of whose silence somebody was told, and which have not answered since.
    ///
    /// # Errors
    /// [`OutboxError`] when they cannot be read.
    pub async fn silences(&self) -> Result<HashSet<String>, OutboxError> {
        let read = self.query("SELECT host FROM ops_silences", Vec::new()).await;
        let read = read.and_then(|rows| {
            let hosts = rows.iter().map(|row| row.try_get_by_index(0));
            Ok(hosts.collect::<Result<_, _>>()?)
        });
        read.map_err(OutboxError::during("read which hosts are silent"))
    }

    /// Tells of those of these hosts whose silence nobody has told of yet; says how many notices that were: one for
    /// each host, or one for all when there are more than five.
    ///
    /// # Errors
    /// [`OutboxError`]; nothing was told then.
    pub async fn tell_silent(&self, silent: &[Silence], at: DateTime<Utc>) -> Result<u64, OutboxError> {
        let silent = &silent[..silent.len().min(MOST_AT_ONCE)];
        let told = transaction(&self.db, |tx| {
            Box::pin(async move {
                let won = self.win_silences(tx, silent).await?;
                let told: Vec<&Silence> = silent
                    .iter()
                    .filter(|silence| won.contains(silence.host.key()))
                    .collect();
                self.put_all(tx, &silent_notices(&told, at)).await
            })
        });
        self.told(told.await.map_err(OutboxError::during("tell of a silence"))?)
    }

    /// Tells that these hosts answer again, as far as their silence was told, and closes alerts of them; says how many
    /// notices that were.
    ///
    /// # Errors
    /// [`OutboxError`]; nothing was told then.
    pub async fn tell_back(&self, hosts: &[HostName], at: DateTime<Utc>) -> Result<u64, OutboxError> {
        let hosts = &hosts[..hosts.len().min(MOST_AT_ONCE)];
        let told = transaction(&self.db, |tx| {
            Box::pin(async move {
                let won = self.end_silences(tx, hosts).await?;
                let back: Vec<&HostName> = hosts.iter().filter(|host| won.contains(host.key())).collect();
                self.put_all(tx, &back_notices(&back, at)).await
            })
        });
        self.told(
            told.await
                .map_err(OutboxError::during("tell of the end of a silence"))?,
        )
    }

    fn told(&self, notices: u64) -> Result<u64, OutboxError> {
        if notices > 0 {
            self.changed.notify_waiters();
        }
        Ok(notices)
    }

    async fn put_all(&self, tx: &Tx<'_>, notices: &[Notice]) -> Result<u64, Fault> {
        for notice in notices {
            insert(&self.db, &**tx, notice, &self.source, &self.targets).await?;
        }
        Ok(notices.len() as u64)
    }

    /// Of all who see the same silence one makes the row; gives the hosts whose row is ours.
    async fn win_silences(&self, tx: &Tx<'_>, silent: &[Silence]) -> Result<HashSet<String>, Fault> {
        if silent.is_empty() {
            return Ok(HashSet::new());
        }
        let (now, by) = (self.db.backend().now_ms(), Uuid::new_v4().to_string());
        let rows = vec![format!("(?, ?, {now})"); silent.len()];
        let sql = format!(
            "{} INTO ops_silences (host, told_by, told_at) VALUES {}",
            self.db.backend().insert_if_absent(),
            rows.join(", ")
        );
        let values = silent
            .iter()
            .flat_map(|silence| [Value::from(silence.host.key()), by.as_str().into()]);
        tx.execute_raw(self.db.statement(&sql, values.collect::<Vec<_>>()))
            .await?;
        self.marked(tx, &by).await
    }

    /// Of all who hear the same host one marks the row and takes it away; gives the hosts whose row that was.
    async fn end_silences(&self, tx: &Tx<'_>, hosts: &[HostName]) -> Result<HashSet<String>, Fault> {
        if hosts.is_empty() {
            return Ok(HashSet::new());
        }
        let by = Uuid::new_v4().to_string();
        let places = vec!["?"; hosts.len()].join(", ");
        let named = || hosts.iter().map(|host| Value::from(host.key()));
        let mark = format!("UPDATE ops_silences SET told_by = ? WHERE host IN ({places})");
        let values: Vec<Value> = std::iter::once(by.as_str().into()).chain(named()).collect();
        tx.execute_raw(self.db.statement(&mark, values)).await?;
        let ours = self.marked(tx, &by).await?;
        let forget = "DELETE FROM ops_silences WHERE told_by = ?";
        tx.execute_raw(self.db.statement(forget, [by.into()])).await?;
        let close = format!("UPDATE ops_alerts SET is_open = ? WHERE host IN ({places})");
        let values: Vec<Value> = std::iter::once(false.into()).chain(named()).collect();
        if !ours.is_empty() {
            tx.execute_raw(self.db.statement(&close, values)).await?;
        }
        Ok(ours)
    }

    async fn marked(&self, tx: &Tx<'_>, by: &str) -> Result<HashSet<String>, Fault> {
        let sql = "SELECT host FROM ops_silences WHERE told_by = ?";
        let rows = tx.query_all_raw(self.db.statement(sql, [by.into()])).await?;
        let hosts = rows.iter().map(|row| row.try_get_by_index(0));
        Ok(hosts.collect::<Result<_, _>>()?)
    }
}

fn silent_notices(silent: &[&Silence], at: DateTime<Utc>) -> Vec<Notice> {
    let one = |silence: &&Silence| {
        let Silence { host, reason } = silence;
        Notice::new(
            NoticeKind::HostSilent,
            at,
            format!("host {host} is silent: {reason}"),
        )
        .on(host)
    };
    let hosts = silent.iter().map(|silence| &silence.host);
    match silent {
        [first, ..] if silent.len() > MOST_BY_NAME => {
            let count = silent.len();
            let sentence = format!("{count} hosts are silent; {}: {}", first.host, first.reason);
            let notice = Notice::new(NoticeKind::HostSilent, at, sentence);
            vec![listing(notice, hosts)]
        }
        _ => silent.iter().map(one).collect(),
    }
}

fn back_notices(back: &[&HostName], at: DateTime<Utc>) -> Vec<Notice> {
    if back.len() > MOST_BY_NAME {
        let sentence = format!("{} hosts answer again", back.len());
        let notice = Notice::new(NoticeKind::HostBack, at, sentence);
        return vec![listing(notice, back.iter().copied())];
    }
    back.iter().map(|host| host_back(host, at)).collect()
}

fn listing<'a>(notice: Notice, hosts: impl ExactSizeIterator<Item = &'a HostName>) -> Notice {
    let notice = notice.with("count", hosts.len() as u64);
    let listed: Vec<&str> = hosts.take(MOST_LISTED).map(HostName::as_str).collect();
    notice.with("hosts", json!(listed))
}

/// The notice that a host is back.
pub(crate) fn host_back(host: &HostName, at: DateTime<Utc>) -> Notice {
    Notice::new(NoticeKind::HostBack, at, format!("host {host} answers again")).on(host)
}
