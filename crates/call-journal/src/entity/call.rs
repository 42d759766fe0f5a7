use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "ops_calls")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub seq: i64,
    pub id: String,
    pub kind: String,
    pub host: Option<String>,
    pub reservation_id: Option<String>,
    pub lab_id: Option<String>,
    pub caller: String,
    pub request_id: Option<String>,
    pub idempotency_key: Option<String>,
    pub digest: String,
    pub state: String,
    pub answer_status: Option<i32>,
    pub answer_body: Option<String>,
    pub worker: String,
    pub lease_until: i64,
    pub created_at: DateTime,
    pub started_at: Option<DateTime>,
    pub ended_at: Option<DateTime>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
