//! The rows of `ops_workers`. All times are milliseconds of the database's clock, read in the statement that uses
//! them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait as _, QueryResult, Value};
use store_support::{Database, DbErr, DbFault, classify, retried};

use crate::error::{ChangeError, RegisterError, RegistryError};
use crate::leases::{self, Lease, millis};
use crate::shard::{Duty, Shard, ShardSet};
use crate::worker::{Capabilities, Registration, ShardCounts, Status, WorkerRecord, holder};

/// Most workers that are listed; a site has a few dozen.
const MAX_LISTED: u32 = 1000;
/// Workers that are gone are forgotten after this time.
const KEEP: Duration = Duration::from_secs(30 * 24 * 3600);
/// The widest reason that is stored, in characters.
const MAX_REASON: usize = 200;

/// The registry, for whoever wants to know who is alive, and for an operator's wishes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Registry {
    pub(crate) db: Database,
}

/// Whether a heartbeat was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    Yes,
    /// The row is another instance's now, or gone.
    No,
}

/// Everything a worker needs to see in order to decide what to take.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) workers: Vec<WorkerRecord>,
    pub(crate) leases: Vec<Lease>,
}

impl Registry {
    /// Works on a database that was migrated.
    #[must_use]
    pub fn new(db: Database) -> Self {
        Self { db }
    }

    /// Every worker that is known, by name; at most a thousand.
    ///
    /// # Errors
    /// [`RegistryError`] when they cannot be read.
    pub async fn list(&self) -> Result<Vec<WorkerRecord>, RegistryError> {
        self.read("ORDER BY name", Vec::new())
            .await
            .map_err(RegistryError::during("list the workers"))
    }

    /// One worker.
    ///
    /// # Errors
    /// [`RegistryError`] when it cannot be read.
    pub async fn find(&self, name: &str) -> Result<Option<WorkerRecord>, RegistryError> {
        let mut found = self
            .read("WHERE name = ?", vec![name.into()])
            .await
            .map_err(RegistryError::during("read a worker"))?;
        Ok(found.pop())
    }

    /// How many shards each of `workers` holds, in their order, and which shards nobody holds, by [`Duty::ALL`].
    ///
    /// # Errors
    /// [`RegistryError`] when the leases cannot be read.
    pub async fn shards(
        &self,
        workers: &[WorkerRecord],
    ) -> Result<(Vec<ShardCounts>, [ShardSet; 2]), RegistryError> {
        let leases = leases::read(&self.db)
            .await
            .map_err(RegistryError::during("read the leases"))?;
        let mut counts = vec![ShardCounts::default(); workers.len()];
        let mut unserved = [ShardSet::ALL; 2];
        for lease in &leases {
            let (Some((duty, shard)), Some(held_by)) = (Shard::of_lease(&lease.name), lease.held_by()) else {
                continue;
            };
            let served: ShardSet = [shard].into_iter().collect();
            unserved[duty.index()] = unserved[duty.index()].without(served);
            if let Some(at) = workers.iter().position(|worker| worker.holder() == held_by) {
                counts[at].0[duty.index()] += 1;
            }
        }
        Ok((counts, unserved))
    }

    /// Keeps new work from a worker, until [`Registry::uncordon`], also over restarts under the same name. What it
    /// has begun, it ends. A worker that is cordoned already gets the new reason.
    ///
    /// # Errors
    /// [`ChangeError`]; nothing was changed then.
    pub async fn cordon(&self, name: &str, reason: &str) -> Result<WorkerRecord, ChangeError> {
        let reason = reason.trim();
        if reason.is_empty() {
            return Err(ChangeError::Reason {
                problem: "must not be empty",
            });
        }
        if reason.chars().count() > MAX_REASON || reason.chars().any(char::is_control) {
            return Err(ChangeError::Reason {
                problem: "must be at most 200 characters without control characters",
            });
        }
        let worker = self.known(name).await?;
        if worker.capabilities.duties.is_empty() {
            return Err(ChangeError::NothingToWithhold {
                name: worker.name,
                role: worker.role,
            });
        }
        self.execute(
            "UPDATE ops_workers SET status_reason = ?, status = 'cordoned' WHERE id = ?",
            vec![reason.into(), worker.id.into()],
        )
        .await
        .map_err(RegistryError::during("cordon a worker"))?;
        self.known(name).await
    }

    /// Lets a cordoned worker take work again.
    ///
    /// # Errors
    /// [`ChangeError`]; nothing was changed then.
    pub async fn uncordon(&self, name: &str) -> Result<WorkerRecord, ChangeError> {
        let worker = self.known(name).await?;
        let now = self.db.backend().now_ms();
        let sql = format!(
            "UPDATE ops_workers SET status_reason = NULL, \
             status = CASE WHEN lease_until > {now} THEN 'active' ELSE 'inactive' END \
             WHERE id = ? AND status = 'cordoned'"
        );
        let changed = self
            .execute(&sql, vec![worker.id.into()])
            .await
            .map_err(RegistryError::during("uncordon a worker"))?;
        if changed == 0 {
            return Err(ChangeError::NotCordoned {
                name: worker.name,
                status: worker.status,
            });
        }
        self.known(name).await
    }

    async fn known(&self, name: &str) -> Result<WorkerRecord, ChangeError> {
        self.find(name).await?.ok_or_else(|| ChangeError::Unknown {
            name: name.chars().take(128).collect(),
        })
    }

    /// Takes the name, unless a process whose lease still runs has it; gives the row id. A cordon stays.
    pub(crate) async fn register(&self, who: &Registration, lease: Duration) -> Result<i64, RegisterError> {
        check(who)?;
        let asked = RegistryError::during("register a worker");
        let now = self.db.backend().now_ms();
        let common = [
            Value::from(who.role.as_str()),
            who.host.as_str().into(),
            who.instance.to_string().into(),
            capabilities(who).into(),
            who.version.as_str().into(),
            millis(lease),
        ];
        let insert = format!(
            "INSERT INTO ops_workers (role, host, instance, capabilities, version, lease_until, started_at, \
             last_heartbeat, last_progress, status, running_jobs, name) \
             VALUES (?, ?, ?, ?, ?, {now} + ?, {now}, {now}, {now}, 'active', 0, ?)"
        );
        // `status_reason` stands before `status`: MySQL assigns from left to right.
        let update = format!(
            "UPDATE ops_workers SET role = ?, host = ?, instance = ?, capabilities = ?, version = ?, \
             lease_until = {now} + ?, started_at = {now}, last_heartbeat = {now}, last_progress = {now}, \
             running_jobs = 0, status_reason = CASE WHEN status = 'cordoned' THEN status_reason ELSE NULL END, \
             status = CASE WHEN status = 'cordoned' THEN status ELSE 'active' END \
             WHERE name = ? AND (lease_until <= {now} OR instance = ?)"
        );
        let mut values = common.to_vec();
        values.push(who.name.as_str().into());
        match self.execute(&insert, values.clone()).await {
            Ok(_) => {}
            Err(error) if classify(&error) == DbFault::Unique => {
                values.push(who.instance.to_string().into());
                self.execute(&update, values).await.map_err(&asked)?;
            }
            Err(error) => return Err(asked(error).into()),
        }
        // Whoever is in the row now has won, whatever became of the answers.
        match self.find(&who.name).await? {
            Some(row) if row.instance == who.instance.to_string() => Ok(row.id),
            Some(row) => Err(RegisterError::Taken(Box::new(row.incumbent()))),
            None => Err(asked(DbErr::RecordNotFound("the row just written is gone".to_owned())).into()),
        }
    }

    /// Prolongs a worker's lease. Never changes how it stands, but that one who was thought dead is back.
    pub(crate) async fn heartbeat(
        &self,
        id: i64,
        who: &Registration,
        lease: Duration,
        progress_age: Duration,
        running: u32,
    ) -> Result<Heard, DbErr> {
        let now = self.db.backend().now_ms();
        let sql = format!(
            "UPDATE ops_workers SET last_heartbeat = {now}, lease_until = {now} + ?, last_progress = {now} - ?, \
             running_jobs = ?, status_reason = CASE WHEN status = 'stale' THEN NULL ELSE status_reason END, \
             status = CASE WHEN status = 'stale' THEN 'active' ELSE status END WHERE id = ? AND instance = ?"
        );
        let values = vec![
            millis(lease),
            millis(progress_age),
            running.into(),
            id.into(),
            who.instance.to_string().into(),
        ];
        let heard = self.execute(&sql, values).await? == 1;
        Ok(if heard { Heard::Yes } else { Heard::No })
    }

    /// All workers and leases.
    pub(crate) async fn look(&self) -> Result<Look, DbErr> {
        Ok(Look {
            workers: self.read("ORDER BY id", Vec::new()).await?,
            leases: leases::read(&self.db).await?,
        })
    }

    /// Says that a worker ends what it has begun and takes nothing new.
    pub(crate) async fn drain(&self, id: i64, who: &Registration) -> Result<(), DbErr> {
        let sql =
            "UPDATE ops_workers SET status = 'draining' WHERE id = ? AND instance = ? AND status = 'active'";
        self.execute(sql, vec![id.into(), who.instance.to_string().into()])
            .await
            .map(|_| ())
    }

    /// Gives back everything and says so. A cordon stays.
    pub(crate) async fn leave(&self, id: i64, who: &Registration) -> Result<(), DbErr> {
        let now = self.db.backend().now_ms();
        let instance = who.instance.to_string();
        let free = format!(
            "UPDATE ops_leases SET lease_until = {now}, holder = NULL WHERE holder = ? \
             AND ((name >= 'shard:' AND name < 'shard;') OR name = '{}')",
            leases::SWEEP
        );
        self.execute(&free, vec![holder(id, &instance).into()]).await?;
        // By name: one that is stopped while it registers does not know its row id yet.
        let gone = format!(
            "UPDATE ops_workers SET lease_until = {now}, running_jobs = 0, \
             status = CASE WHEN status = 'cordoned' THEN status ELSE 'inactive' END WHERE name = ? AND instance = ?"
        );
        self.execute(&gone, vec![who.name.as_str().into(), instance.into()])
            .await
            .map(|_| ())
    }

    /// Marks those who fell silent, and forgets those who are gone for long. Says how many were marked.
    pub(crate) async fn sweep(&self) -> Result<u64, DbErr> {
        let now = self.db.backend().now_ms();
        let mark = format!(
            "UPDATE ops_workers SET status_reason = 'no heartbeat', status = 'stale' \
             WHERE status IN ('active', 'draining') AND lease_until <= {now}"
        );
        let marked = self.execute(&mark, Vec::new()).await?;
        let forget = format!(
            "DELETE FROM ops_workers WHERE status IN ('inactive', 'stale') AND lease_until <= {now} \
             AND last_heartbeat < {now} - ?"
        );
        self.execute(&forget, vec![millis(KEEP)]).await?;
        Ok(marked)
    }

    /// Whether a sweep would change anything about `worker`.
    pub(crate) fn needs_sweep(worker: &WorkerRecord) -> bool {
        !worker.alive()
            && match worker.status {
                Status::Active | Status::Draining => true,
                Status::Inactive | Status::Stale => worker.heartbeat_age > KEEP,
                Status::Cordoned | Status::Unknown => false,
            }
    }

    async fn read(&self, rest: &str, values: Vec<Value>) -> Result<Vec<WorkerRecord>, DbErr> {
        let now = self.db.backend().now_ms();
        let sql = format!(
            "SELECT id, name, role, host, instance, status, status_reason, capabilities, running_jobs, version, \
             started_at, last_heartbeat, {now} - last_heartbeat, {now} - last_progress, lease_until - {now} \
             FROM ops_workers {rest} LIMIT {MAX_LISTED}"
        );
        let read = self.db.statement(&sql, values);
        let rows = self.db.bounded(self.db.connection().query_all_raw(read)).await?;
        rows.iter().map(record).collect()
    }

    async fn execute(&self, sql: &str, values: Vec<Value>) -> Result<u64, DbErr> {
        let db = &self.db;
        retried(|| async {
            let done = db
                .bounded(db.connection().execute_raw(db.statement(sql, values.clone())))
                .await?;
            Ok(done.rows_affected())
        })
        .await
    }
}

fn check(who: &Registration) -> Result<(), RegisterError> {
    for (what, text, limit) in [
        ("name", &who.name, 128),
        ("role", &who.role, 16),
        ("host", &who.host, 255),
        ("version", &who.version, 64),
    ] {
        let chars = text.chars().count();
        if chars > limit {
            return Err(RegisterError::TooLong { what, chars, limit });
        }
    }
    Ok(())
}

fn capabilities(who: &Registration) -> String {
    // A map of JSON values always has a text.
    serde_json::to_string(&who.capabilities).unwrap_or_else(|_| "{}".to_owned())
}

fn record(row: &QueryResult) -> Result<WorkerRecord, DbErr> {
    let status: String = row.try_get_by_index(5)?;
    let capabilities: String = row.try_get_by_index(7)?;
    let running: i32 = row.try_get_by_index(8)?;
    let left: i64 = row.try_get_by_index(14)?;
    Ok(WorkerRecord {
        id: row.try_get_by_index(0)?,
        name: row.try_get_by_index(1)?,
        role: row.try_get_by_index(2)?,
        host: row.try_get_by_index(3)?,
        instance: row.try_get_by_index(4)?,
        status: Status::parse(&status),
        status_reason: row.try_get_by_index(6)?,
        // What cannot be read promises nothing; one such row must not blind everybody.
        capabilities: serde_json::from_str(&capabilities).unwrap_or_else(|_| Capabilities::default()),
        running_jobs: u32::try_from(running).unwrap_or(0),
        version: row.try_get_by_index(9)?,
        started_at: instant(row.try_get_by_index(10)?),
        last_heartbeat_at: instant(row.try_get_by_index(11)?),
        heartbeat_age: age(row.try_get_by_index(12)?),
        progress_age: age(row.try_get_by_index(13)?),
        lease_left: (left > 0).then(|| age(left)),
    })
}

fn instant(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or_default()
}

fn age(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// Which worker of a look holds a lease.
pub(crate) fn find_holder(workers: &[WorkerRecord], held_by: &str) -> Option<i64> {
    workers
        .iter()
        .find(|worker| worker.holder() == held_by)
        .map(|worker| worker.id)
}

/// Those of a look that may take shards of a duty.
pub(crate) fn takers(workers: &[WorkerRecord], duty: Duty) -> impl Iterator<Item = &WorkerRecord> {
    workers.iter().filter(move |worker| worker.takes(duty))
}
