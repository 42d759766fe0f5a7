//! `lab_hosts`: one row per host, found by name.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::NaiveDateTime;
use lab_model::HostName;
use sea_orm::{ConnectionTrait as _, Value};
use store_support::{DbErr, Tx};

use crate::batch::{list, parts};
use crate::columns::cut;
use crate::store::HeartbeatStore;

/// More hosts than this are not remembered; there are ten thousand.
const MAX_KNOWN: usize = 200_000;

/// What the catalog says of a host, as far as `lab_hosts` keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRecord {
    /// Its name.
    pub name: HostName,
    /// Its address; cut to 255 characters.
    pub address: String,
    /// The address of its network card; cut to 32 characters.
    pub mac: Option<String>,
}

impl HostRecord {
    pub(crate) fn cut(self) -> Self {
        Self {
            address: cut(&self.address, 255),
            mac: self.mac.map(|mac| cut(&mac, 32)),
            ..self
        }
    }
}

/// Ids that were read from `lab_hosts` before, by name as it is written.
#[derive(Debug, Default)]
pub(crate) struct HostIds(Mutex<HashMap<String, i64>>);

impl HostIds {
    fn find(&self, name: &HostName) -> Option<i64> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(name.as_str()).copied()
    }

    /// To be called when they are committed.
    pub(crate) fn learn(&self, found: Vec<(String, i64)>) {
        if found.is_empty() {
            return;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() > MAX_KNOWN {
            known.clear();
        }
        known.extend(found);
    }

    /// Somebody may have deleted hosts.
    pub(crate) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// The ids of hosts, by the compared form of the name, and those of them that were not known before.
pub(crate) struct Resolved {
    pub(crate) ids: HashMap<String, i64>,
    pub(crate) learnt: Vec<(String, i64)>,
}

/// Finds the hosts' ids, and makes rows for those who have none. Only these are inserted: an insert that meets a row
/// uses up an id on MySQL.
pub(crate) async fn resolve(
    tx: &Tx<'_>,
    store: &HeartbeatStore,
    hosts: &[&HostRecord],
    now: NaiveDateTime,
) -> Result<Resolved, DbErr> {
    let mut resolved = Resolved {
        ids: HashMap::with_capacity(hosts.len()),
        learnt: Vec::new(),
    };
    let mut unknown = Vec::new();
    for host in hosts {
        match store.ids.find(&host.name) {
            Some(id) => _ = resolved.ids.insert(host.name.key().to_owned(), id),
            None => unknown.push(*host),
        }
    }
    find(tx, store, &mut unknown, &mut resolved).await?;
    if unknown.is_empty() {
        return Ok(resolved);
    }
    let rows = unknown.iter().map(|host| {
        vec![
            host.name.as_str().into(),
            host.address.clone().into(),
            host.mac.clone().into(),
            now.into(),
            now.into(),
        ]
    });
    let insert = &store.sql.new_hosts;
    insert
        .run(tx, &store.db, store.limits.default_bytes(), rows.collect())
        .await?;
    // Another process may have inserted the same host at this moment; which of the two rows the driver's "last id"
    // would mean then differs between databases, so the id is read.
    find(tx, store, &mut unknown, &mut resolved).await?;
    for host in unknown {
        // A name that the table's collation takes for another's.
        let sql = format!("SELECT id FROM {} WHERE name = ?", store.tables.hosts);
        let read = store.db.statement(&sql, [host.name.as_str().into()]);
        let row = tx.query_one_raw(read).await?;
        let row = row.ok_or_else(|| DbErr::RecordNotFound(format!("row of the host {}", host.name)))?;
        resolved
            .ids
            .insert(host.name.key().to_owned(), row.try_get_by_index(0)?);
    }
    Ok(resolved)
}

async fn find(
    tx: &Tx<'_>,
    store: &HeartbeatStore,
    unknown: &mut Vec<&HostRecord>,
    resolved: &mut Resolved,
) -> Result<(), DbErr> {
    let mut found: HashMap<String, i64> = HashMap::new();
    for part in parts(unknown) {
        let mut names: Vec<Value> = part.iter().map(|host| host.name.as_str().into()).collect();
        let sql = format!(
            "SELECT id, name FROM {} WHERE name IN ({})",
            store.tables.hosts,
            list(&mut names)
        );
        for row in tx.query_all_raw(store.db.statement(&sql, names)).await? {
            let (id, name): (i64, String) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
            // The name as it is written wins over one in another case, which MySQL may find as well.
            found.entry(name.to_lowercase()).or_insert(id);
            found.insert(name, id);
        }
    }
    unknown.retain(|host| {
        let id = found
            .get(host.name.as_str())
            .or_else(|| found.get(host.name.key()));
        if let Some(id) = id {
            resolved.ids.insert(host.name.key().to_owned(), *id);
            resolved.learnt.push((host.name.as_str().to_owned(), *id));
        }
        id.is_none()
    });
    Ok(())
}
