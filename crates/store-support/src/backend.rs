//! Which kind of database is spoken to, and how each spells the few things that differ.

use sea_orm::DbBackend;

/// The kinds of database that are supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Backend {
    /// MySQL or MariaDB.
    MySql,
    /// SQLite, in a file or in memory.
    Sqlite,
}

impl Backend {
    /// The database's own clock in milliseconds since 1970, as an SQL expression: what leases are judged by.
    ///
    /// Workers' clocks differ; this one is the same for all of them. It is read in the statement that uses
    /// it.
    #[must_use]
    pub fn now_ms(self) -> &'static str {
        match self {
            Self::MySql => "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)",
            Self::Sqlite => "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
        }
    }

    /// The database's present instant in UTC, in whole seconds, as an SQL expression that compares with
    /// `DATETIME` and `TIMESTAMP` columns.
    #[must_use]
    pub fn now_expr(self) -> &'static str {
        match self {
            Self::MySql => "UTC_TIMESTAMP()",
            Self::Sqlite => "strftime('%Y-%m-%d %H:%M:%S', 'now')",
        }
    }

    /// How an insert that skips rows with a known key begins.
    #[must_use]
    pub fn insert_if_absent(self) -> &'static str {
        match self {
            Self::MySql => "INSERT IGNORE",
            Self::Sqlite => "INSERT OR IGNORE",
        }
    }

    /// The same kind in the driver's words.
    #[must_use]
    pub fn driver(self) -> DbBackend {
        match self {
            Self::MySql => DbBackend::MySql,
            Self::Sqlite => DbBackend::Sqlite,
        }
    }

    /// Reads the driver's word; `None` for a kind that is not supported.
    #[must_use]
    pub fn of(driver: DbBackend) -> Option<Self> {
        match driver {
            DbBackend::MySql => Some(Self::MySql),
            DbBackend::Sqlite => Some(Self::Sqlite),
            _ => None,
        }
    }
}
