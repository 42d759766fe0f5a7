//! `lab_hosts`: one row per host, found by name.

use chrono::NaiveDateTime;
use lab_model::HostName;
use sea_orm::QuerySelect as _;
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _, QueryFilter as _,
};

use crate::columns::cut;
use crate::entity::host;

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

/// Brings the host's row up to date, makes it when it is absent, and gives its id. `last_seen` is left alone
/// when nothing was seen.
pub(crate) async fn upsert(
    tx: &impl ConnectionTrait,
    record: &HostRecord,
    last_seen: Option<NaiveDateTime>,
    now: NaiveDateTime,
) -> Result<i64, DbErr> {
    let address = cut(&record.address, 255);
    let mac = record.mac.as_deref().map(|mac| cut(mac, 32));
    if let Some(id) = find(tx, &record.name).await? {
        let mut update = host::Entity::update_many()
            .col_expr(host::Column::Address, Expr::value(address))
            .col_expr(host::Column::Mac, Expr::value(mac))
            .col_expr(host::Column::UpdatedAt, Expr::value(now));
        if let Some(last_seen) = last_seen {
            update = update.col_expr(host::Column::LastSeen, Expr::value(last_seen));
        }
        update.filter(host::Column::Id.eq(id)).exec(tx).await?;
        return Ok(id);
    }
    let row = host::ActiveModel {
        name: Set(record.name.as_str().to_owned()),
        address: Set(address),
        mac: Set(mac),
        last_seen: Set(last_seen),
        created_at: Set(now),
        updated_at: Set(now),
        ..Default::default()
    };
    // Another process may insert the same host at this moment; which of the two rows the driver's "last id" would
    // mean then differs between databases, so the id is read.
    host::Entity::insert(row)
        .on_conflict(
            OnConflict::column(host::Column::Name)
                .do_nothing_on([host::Column::Id])
                .to_owned(),
        )
        .try_insert()
        .exec_without_returning(tx)
        .await?;
    let found = find(tx, &record.name).await?;
    found.ok_or_else(|| DbErr::RecordNotFound(format!("lab_hosts row of {}", record.name)))
}

async fn find(tx: &impl ConnectionTrait, name: &HostName) -> Result<Option<i64>, DbErr> {
    host::Entity::find()
        .select_only()
        .column(host::Column::Id)
        .filter(host::Column::Name.eq(name.as_str()))
        .into_tuple()
        .one(tx)
        .await
}
