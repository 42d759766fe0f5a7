use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "reservation_operations")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub reservation_id: String,
    pub lab_id: Option<String>,
    pub host: String,
    pub action: String,
    pub status: String,
    pub success: bool,
    pub response_code: Option<i32>,
    pub duration_ms: Option<i32>,
    pub payload: Option<Json>,
    pub message: Option<String>,
    pub created_at: DateTime,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
