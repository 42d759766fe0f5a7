use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "ops_host_state")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub host_name: String,
    pub last_attempt_at: Option<DateTime>,
    pub last_success_at: Option<DateTime>,
    pub failures_in_row: i32,
    pub last_error_code: Option<String>,
    pub last_error: Option<String>,
    pub ready: Option<bool>,
    pub local_mode: Option<bool>,
    pub local_session: Option<bool>,
    pub reported_at: Option<DateTime>,
    pub clock_offset_ms: Option<i64>,
    pub last_forced_logoff_ts: Option<DateTime>,
    pub last_heartbeat_id: Option<i64>,
    pub updated_at: DateTime,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
