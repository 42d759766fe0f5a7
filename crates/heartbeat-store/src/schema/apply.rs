//! Applying one change where `IF NOT EXISTS` does not exist for everything.

use sea_orm::{ConnectionTrait, Statement, Value};
use store_support::{Backend, DbErr};

use super::{SchemaChange, What};

pub(super) async fn apply(
    connection: &impl ConnectionTrait,
    backend: Backend,
    change: &SchemaChange,
) -> Result<(), DbErr> {
    let table = &change.table;
    match &change.what {
        What::Table(definition) => {
            // Asked first, because MySQL wants the right to create even where `IF NOT EXISTS` has nothing to do.
            if has_table(connection, backend, table).await? {
                return Ok(());
            }
            let sql = format!("CREATE TABLE IF NOT EXISTS {table} {definition}");
            connection.execute_unprepared(&sql).await.map(|_| ())
        }
        What::Columns(columns) => {
            for (column, definition) in columns {
                if has_column(connection, backend, table, column).await? {
                    continue;
                }
                let sql = format!("ALTER TABLE {table} ADD COLUMN {column} {definition}");
                if let Err(error) = connection.execute_unprepared(&sql).await
                    // Another process may have been faster.
                    && !has_column(connection, backend, table, column).await?
                {
                    return Err(error);
                }
            }
            Ok(())
        }
        What::Index(name, columns) => {
            if has_index(connection, backend, table, name, columns).await? {
                return Ok(());
            }
            let sql = format!("CREATE INDEX {name} ON {table} ({})", columns.join(", "));
            match connection.execute_unprepared(&sql).await {
                Ok(_) => Ok(()),
                Err(error) if !has_index(connection, backend, table, name, columns).await? => Err(error),
                Err(_) => Ok(()),
            }
        }
    }
}

async fn has_table(connection: &impl ConnectionTrait, backend: Backend, table: &str) -> Result<bool, DbErr> {
    let sql = match backend {
        Backend::MySql => {
            "SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?"
        }
        Backend::Sqlite => "SELECT 1 FROM sqlite_master WHERE type IN ('table', 'view') AND name = ?",
    };
    any(connection, backend, sql, &[table]).await
}

async fn has_column(
    connection: &impl ConnectionTrait,
    backend: Backend,
    table: &str,
    column: &str,
) -> Result<bool, DbErr> {
    let sql = match backend {
        Backend::MySql => {
            "SELECT 1 FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = ? \
             AND column_name = ?"
        }
        Backend::Sqlite => "SELECT 1 FROM pragma_table_info(?) WHERE name = ?",
    };
    any(connection, backend, sql, &[table, column]).await
}

async fn has_index(
    connection: &impl ConnectionTrait,
    backend: Backend,
    table: &str,
    name: &str,
    columns: &[&str],
) -> Result<bool, DbErr> {
    if backend == Backend::Sqlite {
        let sql = "SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = ?";
        return any(connection, backend, sql, &[name]).await;
    }
    let sql = "SELECT CAST(GROUP_CONCAT(column_name ORDER BY seq_in_index SEPARATOR ',') AS CHAR) AS columns_ \
               FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = ? GROUP BY index_name";
    let read = Statement::from_sql_and_values(backend.driver(), sql, [table.into()]);
    let wanted = format!("{},", columns.join(","));
    for row in connection.query_all_raw(read).await? {
        let columns: String = row.try_get_by_index(0)?;
        if format!("{},", columns.to_ascii_lowercase()).starts_with(&wanted) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn any(
    connection: &impl ConnectionTrait,
    backend: Backend,
    sql: &str,
    values: &[&str],
) -> Result<bool, DbErr> {
    let values = values.iter().map(|value| Value::from(*value));
    let read = Statement::from_sql_and_values(backend.driver(), sql, values);
    Ok(connection.query_one_raw(read).await?.is_some())
}
