use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "lab_host_heartbeat")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub host_id: i64,
    pub timestamp_utc: DateTime,
    pub ready: Option<bool>,
    pub local_mode: Option<bool>,
    pub local_session: Option<bool>,
    pub last_forced_logoff_ts: Option<DateTime>,
    pub last_forced_logoff_user: Option<String>,
    pub last_power_action_ts: Option<DateTime>,
    pub last_power_action_mode: Option<String>,
    #[sea_orm(column_type = "custom(\"LONGTEXT\")")]
    pub raw_json: String,
    pub created_at: DateTime,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
