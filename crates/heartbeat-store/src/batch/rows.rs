//! Statements of many rows: as few as the database's bounds allow, and in few sizes.

use std::iter::Peekable;

use sea_orm::{ConnectionTrait as _, Statement, Value};
use store_support::{Backend, Database, DbErr, Tx};

/// Bound values of one statement; SQLite takes 32,766 and MySQL 65,535.
const MAX_VALUES: usize = 32_000;
/// Rows of one statement. Longer ones are no faster: the next is made while the database works on the last, and SQLite
/// keeps them compiled, at some hundred bytes a value.
const MAX_ROWS: usize = 500;

/// A statement that takes any number of rows.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    head: String,
    tail: String,
    columns: usize,
    sizes: Sizes,
}

/// How statements of any number of rows come in few sizes, so that the database meets few different texts and keeps them
/// all prepared.
#[derive(Debug, Clone, Copy)]
enum Sizes {
    /// The rows are cut into usual numbers.
    Cut,
    /// The last row is repeated up to a usual number.
    Repeat,
    /// Rows with the key of the last one and zeros are added up to a usual number.
    Zeros {
        /// Columns of the key, which come first.
        key: usize,
    },
}

/// A statement that is ready to be sent.
#[derive(Debug)]
pub(crate) struct Ready {
    /// How many rows it has, without those that it is filled up with.
    pub(crate) rows: usize,
    pub(crate) statement: Statement,
}

impl Rows {
    /// A plain insert.
    pub(crate) fn insert(table: &str, columns: &[&str]) -> Self {
        Self {
            head: format!("INSERT INTO {table} ({}) VALUES ", columns.join(", ")),
            tail: String::new(),
            columns: columns.len(),
            sizes: Sizes::Cut,
        }
    }

    /// An insert that skips rows whose key is taken.
    pub(crate) fn insert_if_absent(backend: Backend, table: &str, columns: &[&str]) -> Self {
        let verb = backend.insert_if_absent();
        Self {
            head: format!("{verb} INTO {table} ({}) VALUES ", columns.join(", ")),
            ..Self::insert(table, columns)
        }
    }

    /// An insert that sets columns of a row whose `key` is taken, each to what is given for the column beside it. The same
    /// row twice is as good as once.
    pub(crate) fn upsert<'a>(
        backend: Backend,
        table: &str,
        columns: &[&str],
        key: &str,
        set: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let sets = set
            .into_iter()
            .map(|(column, from)| format!("{column} = {}", Self::given(backend, from)));
        Self {
            tail: Self::on_conflict(backend, key, sets),
            sizes: Sizes::Repeat,
            ..Self::insert(table, columns)
        }
    }

    /// An insert that adds to the columns `add`, the last ones, of a row whose `key` is taken.
    pub(crate) fn add(backend: Backend, table: &str, columns: &[&str], key: &str, add: &[&str]) -> Self {
        let sum = |column: &&str| format!("{column} = {table}.{column} + {}", Self::given(backend, column));
        Self {
            tail: Self::on_conflict(backend, key, add.iter().map(sum)),
            sizes: Sizes::Zeros {
                key: columns.len() - add.len(),
            },
            ..Self::insert(table, columns)
        }
    }

    fn given(backend: Backend, column: &str) -> String {
        match backend {
            Backend::MySql => format!("VALUES({column})"),
            Backend::Sqlite => format!("excluded.{column}"),
        }
    }

    fn on_conflict(backend: Backend, key: &str, sets: impl Iterator<Item = String>) -> String {
        let sets = sets.collect::<Vec<_>>().join(", ");
        match backend {
            Backend::MySql => format!(" ON DUPLICATE KEY UPDATE {sets}"),
            Backend::Sqlite => format!(" ON CONFLICT ({key}) DO UPDATE SET {sets}"),
        }
    }

    /// Sends the rows, one statement after the other.
    pub(crate) async fn run(
        &self,
        tx: &Tx<'_>,
        db: &Database,
        max_bytes: usize,
        rows: Vec<Vec<Value>>,
    ) -> Result<(), DbErr> {
        for ready in self.statements(db, max_bytes, rows.into_iter()) {
            tx.execute_raw(ready.statement).await?;
        }
        Ok(())
    }

    /// The statements that the rows come to; each is made when it is asked for.
    pub(crate) fn statements<'a, I>(&'a self, db: &'a Database, max_bytes: usize, rows: I) -> Parts<'a, I>
    where
        I: ExactSizeIterator<Item = Vec<Value>>,
    {
        Parts {
            sql: self,
            db,
            max_bytes,
            rows: rows.peekable(),
        }
    }

    /// Fills up to a usual number of rows.
    fn pad(&self, values: &mut Vec<Value>, count: usize) -> usize {
        let padded = usual(count);
        if padded * self.columns > MAX_VALUES {
            return count;
        }
        let mut last = values[values.len() - self.columns..].to_vec();
        match self.sizes {
            Sizes::Cut => return count,
            Sizes::Repeat => {}
            Sizes::Zeros { key } => last[key..].fill(Value::from(0_i64)),
        }
        for _ in count..padded {
            values.extend(last.iter().cloned());
        }
        padded
    }

    fn sql(&self, rows: usize) -> String {
        let row = format!("({})", vec!["?"; self.columns].join(","));
        format!("{}{}{}", self.head, vec![row.as_str(); rows].join(","), self.tail)
    }
}

/// Statements of [`Rows::statements`]; its upper bound is nothing as soon as no row is left.
pub(crate) struct Parts<'a, I: Iterator> {
    sql: &'a Rows,
    db: &'a Database,
    max_bytes: usize,
    rows: Peekable<I>,
}

impl<I: ExactSizeIterator<Item = Vec<Value>>> Iterator for Parts<'_, I> {
    type Item = Ready;

    fn next(&mut self) -> Option<Ready> {
        let most = match self.sql.sizes {
            Sizes::Cut => usual_below(self.rows.len().min(MAX_ROWS)),
            _ => self.rows.len().min(MAX_ROWS),
        };
        let mut values = Vec::with_capacity(self.sql.columns * most);
        let (mut count, mut bytes) = (0, 0);
        while let Some(row) = self.rows.peek().filter(|_| count < most) {
            let more = row.iter().map(size).sum::<usize>();
            let full = values.len() + row.len() > MAX_VALUES || bytes + more > self.max_bytes;
            if count > 0 && full {
                break;
            }
            bytes += more;
            count += 1;
            values.extend(self.rows.next().into_iter().flatten());
        }
        if count == 0 {
            return None;
        }
        let padded = self.sql.pad(&mut values, count);
        Some(Ready {
            rows: count,
            statement: self.db.statement(&self.sql.sql(padded), values),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.rows.len();
        (left.min(1), Some(left))
    }
}

/// `?` for a list of values, which is filled up to a usual number with the last of them.
pub(crate) fn list(values: &mut Vec<Value>) -> String {
    if let Some(last) = values.last().cloned() {
        values.resize(usual(values.len()), last);
    }
    vec!["?"; values.len()].join(",")
}

/// Parts of a long list that fit into one statement.
pub(crate) fn parts<T>(values: &[T]) -> impl Iterator<Item = &[T]> {
    // Rounded up these stay below the bound.
    values.chunks(MAX_VALUES / 2)
}

/// The next number of the row 1, 2, 3, 4, 6, 8, 12, 16, 24, ...
fn usual(count: usize) -> usize {
    let power = count.next_power_of_two();
    let between = power / 4 * 3;
    if between >= count { between } else { power }
}

/// The greatest of these numbers that is not above `count`; small ones are all usual, and so are hundreds, of which whole
/// batches are.
fn usual_below(count: usize) -> usize {
    if count <= 8 || count.is_multiple_of(100) {
        return count;
    }
    let power = 1 << count.ilog2();
    let between = power / 2 * 3;
    if between <= count { between } else { power }
}

/// About how many bytes a value takes on the wire.
fn size(value: &Value) -> usize {
    match value {
        Value::String(Some(text)) => text.len() + 9,
        _ => 16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_cannot_be_repeated_are_cut_into_few_statements_of_few_sizes() {
        let mut sizes = std::collections::BTreeSet::new();
        for count in 1..=1000 {
            let (mut left, mut statements) = (count, 0);
            while left > 0 {
                let size = usual_below(left);
                assert!(size > 0 && size <= left, "{left}");
                sizes.insert(size);
                left -= size;
                statements += 1;
            }
            assert!(statements <= 5, "{count}: {statements}");
        }
        assert!(sizes.len() <= 34, "{sizes:?}");
    }

    #[test]
    fn there_are_few_sizes_and_none_is_much_too_large() {
        let sizes: std::collections::BTreeSet<usize> = (1..=1000).map(usual).collect();
        assert_eq!(sizes.len(), 20);
        for count in 1..=1000 {
            assert!(
                usual(count) >= count && usual(count) <= count + count / 2,
                "{count}"
            );
        }
    }
}
