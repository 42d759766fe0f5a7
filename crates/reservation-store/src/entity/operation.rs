use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "ops_operations")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub op_key: String,
    pub kind: String,
    pub reservation_id: String,
    pub lab_id: Option<String>,
    pub host: String,
    pub state: String,
    pub state_json: String,
    pub step: Option<String>,
    pub token: i64,
    pub prepare_began_at: Option<DateTime>,
    pub owes_release: bool,
    pub due_at: DateTime,
    pub created_at: DateTime,
    pub updated_at: DateTime,
    pub journal_version: i32,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
