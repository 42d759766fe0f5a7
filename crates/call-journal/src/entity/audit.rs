use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "ops_audit")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub at: DateTime,
    pub request_id: String,
    pub caller: String,
    pub role: String,
    pub from_address: String,
    pub action: String,
    pub subject: Option<String>,
    pub detail: Option<String>,
    pub status: Option<i32>,
    pub code: Option<String>,
    pub ended_at: Option<DateTime>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
