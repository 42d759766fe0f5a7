use sea_orm::entity::prelude::*;

/// Another service's table: read, and `status` moved. Columns that are not shown anywhere are left out. Its
/// stamps are
/// `TIMESTAMP`s, which the driver reads as instants only; they are never written from this model, since
/// SQLite would get another spelling than the older statements write.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "lab_reservations")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub transaction_hash: Option<String>,
    pub wallet_address: Option<String>,
    pub lab_id: Option<String>,
    pub start_time: DateTimeUtc,
    pub end_time: DateTimeUtc,
    pub status: Option<String>,
    pub created_at: Option<DateTimeUtc>,
    pub updated_at: Option<DateTimeUtc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
