//! What a database error means to the caller.

use sea_orm::sqlx::Error as SqlxError;
use sea_orm::sqlx::mysql::MySqlDatabaseError;
use sea_orm::{DbErr, RuntimeErr};

/// What to do about a database error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DbFault {
    /// Another writer was faster: roll back and run the whole transaction again.
    Conflict,
    /// The key is taken: a fact about the domain, never retried.
    Unique,
    /// The database does not answer or cannot write now; whether a commit under way took effect is unknown.
    Unavailable,
    /// The database understood and refused: a fault of ours or of the schema.
    Refused,
}

/// Says what an error means, from the number that the database gave with it.
#[must_use]
pub fn classify(error: &DbErr) -> DbFault {
    match error {
        DbErr::ConnectionAcquire(_) => DbFault::Unavailable,
        DbErr::Conn(cause) => driver_fault(cause).unwrap_or(DbFault::Unavailable),
        DbErr::Exec(cause) | DbErr::Query(cause) => driver_fault(cause).unwrap_or(DbFault::Refused),
        _ => DbFault::Refused,
    }
}

fn driver_fault(cause: &RuntimeErr) -> Option<DbFault> {
    let RuntimeErr::SqlxError(error) = cause else {
        return None;
    };
    match error.as_ref() {
        SqlxError::Database(error) => Some(match error.try_downcast_ref::<MySqlDatabaseError>() {
            Some(mysql) => mysql_fault(mysql.number()),
            None => sqlite_fault(error.code().and_then(|code| code.parse().ok()).unwrap_or(1)),
        }),
        SqlxError::Io(_)
        | SqlxError::Tls(_)
        | SqlxError::Protocol(_)
        | SqlxError::PoolTimedOut
        | SqlxError::PoolClosed
        | SqlxError::WorkerCrashed => Some(DbFault::Unavailable),
        _ => None,
    }
}

/// Source: the MySQL and MariaDB error references; 1047 and 1180 as seen from a Galera node without a quorum.
fn mysql_fault(number: u16) -> DbFault {
    match number {
        // Deadlock or lost certification, lock wait, changed since last read.
        1213 | 1205 | 1020 => DbFault::Conflict,
        1022 | 1062 | 1169 | 1586 => DbFault::Unique,
        // No quorum; too many connections; shutting down; connection killed or aborted; statement cut short;
        // read only (fail-over under way); tablespace or disk full.
        1047
        | 1180
        | 1040
        | 1203
        | 1226
        | 1053
        | 1077
        | 1079
        | 1080
        | 1152..=1161
        | 1184
        | 1927
        | 1317
        | 1969
        | 3024
        | 1290
        | 1792
        | 1836
        | 1021
        | 1114 => DbFault::Unavailable,
        _ => DbFault::Refused,
    }
}

/// Source: SQLite's result codes; the low byte is the primary code.
fn sqlite_fault(code: i32) -> DbFault {
    match (code, code & 0xff) {
        (1555 | 2067, _) => DbFault::Unique,
        // BUSY and LOCKED with all their extended forms (261, 517, 262 ...).
        (_, 5 | 6) => DbFault::Conflict,
        // READONLY, IOERR, FULL, CANTOPEN.
        (_, 8 | 10 | 13 | 14) => DbFault::Unavailable,
        _ => DbFault::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_means_what_the_table_in_the_design_says() {
        for number in [1213, 1205, 1020] {
            assert_eq!(mysql_fault(number), DbFault::Conflict, "{number}");
        }
        for number in [1047, 1180, 1290, 1040, 1927] {
            assert_eq!(mysql_fault(number), DbFault::Unavailable, "{number}");
        }
        assert_eq!(mysql_fault(1062), DbFault::Unique);
        assert_eq!(mysql_fault(1146), DbFault::Refused);
        for code in [5, 6, 261, 262, 517] {
            assert_eq!(sqlite_fault(code), DbFault::Conflict, "{code}");
        }
        for code in [8, 1032, 10, 13, 14] {
            assert_eq!(sqlite_fault(code), DbFault::Unavailable, "{code}");
        }
        assert_eq!(sqlite_fault(2067), DbFault::Unique);
        assert_eq!(sqlite_fault(787), DbFault::Refused);
    }

    #[test]
    fn a_lost_connection_means_that_the_database_is_not_available() {
        let lost = RuntimeErr::SqlxError(std::sync::Arc::new(SqlxError::Io(
            std::io::ErrorKind::BrokenPipe.into(),
        )));
        assert_eq!(classify(&DbErr::Query(lost)), DbFault::Unavailable);
        assert_eq!(
            classify(&DbErr::Conn(RuntimeErr::Internal("late".to_owned()))),
            DbFault::Unavailable
        );
        assert_eq!(classify(&DbErr::Type("odd".to_owned())), DbFault::Refused);
    }
}
