//! How a table's definition is spelled on each backend.

use crate::Backend;

/// The spellings that differ in a table's definition. In memory and on disk SQLite takes any type name; these keep its
/// column affinity and checks close to MySQL's.
#[derive(Debug, Clone, Copy)]
pub struct Dialect {
    /// The row id.
    pub id: &'static str,
    /// A JSON document.
    pub json: &'static str,
    /// Behind `DEFAULT CURRENT_TIMESTAMP`: follows every update.
    pub on_update: &'static str,
    /// Behind the closing bracket of a table that is shared: the database's own default charset stays.
    pub engine: &'static str,
    /// Behind the closing bracket of a table of our own: ids are compared byte by byte, as on SQLite.
    pub engine_exact: &'static str,
    mysql: bool,
}

impl Dialect {
    /// The spellings of one backend.
    #[must_use]
    pub fn of(backend: Backend) -> Self {
        match backend {
            Backend::MySql => Self {
                id: "BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY",
                json: "JSON",
                on_update: " ON UPDATE CURRENT_TIMESTAMP",
                engine: " ENGINE=InnoDB",
                engine_exact: " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
                mysql: true,
            },
            Backend::Sqlite => Self {
                id: "INTEGER PRIMARY KEY AUTOINCREMENT",
                // Not JSON: SQLite would take that for a number's column and turn a document `5` into one.
                json: "JSON_TEXT",
                on_update: "",
                engine: "",
                engine_exact: "",
                mysql: false,
            },
        }
    }

    /// A column that takes one of `words` only.
    #[must_use]
    pub fn one_of(&self, column: &str, words: &[&str]) -> String {
        let list = words
            .iter()
            .map(|word| format!("'{word}'"))
            .collect::<Vec<_>>()
            .join(",");
        if self.mysql {
            format!("ENUM({list})")
        } else {
            format!("VARCHAR(32) CHECK ({column} IN ({list}))")
        }
    }
}
