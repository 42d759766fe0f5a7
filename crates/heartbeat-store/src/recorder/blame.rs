//! What an error says about the reports of a batch: whether they are to blame for it, or the database is away.

use std::ops::RangeInclusive;

use sea_orm::RuntimeErr;
use sea_orm::sqlx::Error as SqlxError;
use sea_orm::sqlx::mysql::MySqlDatabaseError;
use store_support::DbErr;

/// What a server says when it cuts off: a packet too large, or a connection that broke while it read or wrote.
const CUT: RangeInclusive<u16> = 1152..=1161;

/// Whether the connection was lost in the middle of a statement, as when a server cuts off whoever sends too much. A
/// database that says that it takes no writes now, or that somebody else holds a row, blames nothing that was sent.
pub(super) fn is_cut(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause))) = error
    else {
        return false;
    };
    match cause.as_ref() {
        SqlxError::PoolTimedOut | SqlxError::PoolClosed => false,
        SqlxError::Database(said) => said
            .try_downcast_ref::<MySqlDatabaseError>()
            .is_some_and(|said| CUT.contains(&said.number())),
        _ => true,
    }
}

/// Whether no answer came in time. A large batch may be too much for it, a single report is not.
pub(super) fn is_late(error: &DbErr) -> bool {
    matches!(error, DbErr::Conn(RuntimeErr::Internal(_)))
}

#[cfg(test)]
mod tests {
    use sea_orm::ConnectionTrait as _;
    use store_support::{Backend, each_backend};

    use super::*;

    each_backend! {
        async fn a_database_that_takes_no_writes_now_blames_no_report(test) {
            let db = test.database().connection();
            match test.database().backend() {
                Backend::Sqlite => {
                    let sql = "CREATE TABLE t (a INT); PRAGMA query_only = 1; INSERT INTO t VALUES (1)";
                    let error = db.execute_unprepared(sql).await.unwrap_err();
                    assert!(error.to_string().contains("readonly"), "{error}");
                    assert!(!is_cut(&error) && !is_late(&error), "{error:?}");
                }
                // Read only, a row held, a deadlock, no quorum, disk full; and a packet too large.
                Backend::MySql => for (number, cut) in [
                    (1290, false), (1205, false), (1213, false), (1047, false), (1114, false), (1153, true),
                ] {
                    let sql = format!("SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {number}, MESSAGE_TEXT = 'so'");
                    let error = db.execute_unprepared(&sql).await.unwrap_err();
                    assert_eq!(is_cut(&error), cut, "{error:?}");
                },
            }
        }
    }
}
