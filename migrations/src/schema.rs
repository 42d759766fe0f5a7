//! How a table is written once for both backends, and how an index is added where `IF NOT EXISTS` does not
//! exist.

use sea_orm_migration::SchemaManager;
use sea_orm_migration::sea_orm::{ConnectionTrait as _, DbErr, Statement};
use store_support::Backend;
pub(crate) use store_support::Dialect;

pub(crate) fn backend(manager: &SchemaManager<'_>) -> Result<Backend, DbErr> {
    Backend::of(manager.get_database_backend())
        .ok_or_else(|| DbErr::Migration("this kind of database is not supported".to_owned()))
}

/// Makes a table when no table has its name; one that exists is left as it is.
pub(crate) async fn create_table(
    manager: &SchemaManager<'_>,
    table: &str,
    definition: impl Fn(&Dialect) -> String,
) -> Result<(), DbErr> {
    // Asked first, because MySQL wants the right to create even where `IF NOT EXISTS` has nothing to do.
    if manager.has_table(table).await? {
        return Ok(());
    }
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS {table} {}",
        definition(&Dialect::of(backend(manager)?))
    );
    manager
        .get_connection()
        .execute_unprepared(&sql)
        .await
        .map(|_| ())
}

/// Adds an index when the table has none that begins with the same columns, under whatever name.
pub(crate) async fn create_index(
    manager: &SchemaManager<'_>,
    name: &str,
    table: &str,
    columns: &[&str],
) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    let backend = backend(manager)?;
    if backend == Backend::MySql && mysql_has_index(manager, table, columns).await? {
        return Ok(());
    }
    let if_absent = if backend == Backend::Sqlite {
        "IF NOT EXISTS "
    } else {
        ""
    };
    let sql = format!(
        "CREATE INDEX {if_absent}{name} ON {table} ({})",
        columns.join(", ")
    );
    connection.execute_unprepared(&sql).await.map(|_| ())
}

async fn mysql_has_index(manager: &SchemaManager<'_>, table: &str, columns: &[&str]) -> Result<bool, DbErr> {
    let sql = "SELECT CAST(GROUP_CONCAT(column_name ORDER BY seq_in_index SEPARATOR ',') AS CHAR) AS columns_ \
               FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = ? GROUP BY index_name";
    let read = Statement::from_sql_and_values(manager.get_database_backend(), sql, [table.into()]);
    let wanted = format!("{},", columns.join(","));
    for row in manager.get_connection().query_all_raw(read).await? {
        let columns: String = row.try_get_by_index(0)?;
        if format!("{},", columns.to_ascii_lowercase()).starts_with(&wanted) {
            return Ok(true);
        }
    }
    Ok(false)
}
