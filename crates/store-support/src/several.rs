//! Several questions over one connection.

use futures_util::StreamExt as _;
use sea_orm::sqlx::mysql::MySql;
use sea_orm::sqlx::sqlite::Sqlite;
use sea_orm::sqlx::{AssertSqlSafe, Either, Error as SqlxError, Executor as _, query};
use sea_orm::{ConnAcquireErr, DbErr, QueryResult, RuntimeErr};

use crate::Backend;
use crate::database::Database;

/// One question: its text, with `?` for each value.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The text: one statement, without a semicolon. Each text is prepared once for each connection.
    pub sql: &'a str,
    /// What stands for the places.
    pub values: &'a [Asked<'a>],
}

/// A value of a [`Question`].
#[derive(Debug, Clone, Copy)]
pub enum Asked<'a> {
    /// A text.
    Text(&'a str),
    /// A number.
    Number(i64),
}

impl Database {
    /// Asks several questions over one connection of the pool, and gives the rows of each. Each way to the database and
    /// back wakes somebody, and so does each return of a connection, which costs more than to find a row: SQLite is asked
    /// all of them in one go, MySQL one after the other.
    ///
    /// The questions are no transaction: what is committed meanwhile may be seen by the later ones only.
    ///
    /// # Errors
    /// The first question's that fails, or that of the pool. Not bounded in time: see [`Database::bounded`].
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn ask<const N: usize>(
        &self,
        questions: [Question<'_>; N],
    ) -> Result<[Vec<QueryResult>; N], DbErr> {
        questions.iter().for_each(|_| self.count_statement());
        match self.backend() {
            Backend::MySql => self.ask_mysql(questions).await,
            Backend::Sqlite => self.ask_sqlite(questions).await,
        }
    }

    async fn ask_mysql<const N: usize>(
        &self,
        questions: [Question<'_>; N],
    ) -> Result<[Vec<QueryResult>; N], DbErr> {
        let pool = self.connection().get_mysql_connection_pool();
        let mut connection = pool.acquire().await.map_err(not_acquired)?;
        let mut answers = [const { Vec::new() }; N];
        for (question, answer) in questions.iter().zip(&mut answers) {
            let mut asking = query::<MySql>(AssertSqlSafe(question.sql));
            for value in question.values {
                asking = match *value {
                    Asked::Text(text) => asking.bind(text),
                    Asked::Number(number) => asking.bind(number),
                };
            }
            let rows = asking.fetch_all(&mut *connection).await.map_err(failed)?;
            *answer = rows.into_iter().map(QueryResult::from).collect();
        }
        Ok(answers)
    }

    async fn ask_sqlite<const N: usize>(
        &self,
        questions: [Question<'_>; N],
    ) -> Result<[Vec<QueryResult>; N], DbErr> {
        let pool = self.connection().get_sqlite_connection_pool();
        let mut connection = pool.acquire().await.map_err(not_acquired)?;
        let texts = questions.map(|question| question.sql).join(";");
        let mut asking = query::<Sqlite>(AssertSqlSafe(texts));
        for value in questions.iter().flat_map(|question| question.values) {
            asking = match *value {
                Asked::Text(text) => asking.bind(text),
                Asked::Number(number) => asking.bind(number),
            };
        }
        let mut answers = [const { Vec::new() }; N];
        let mut at = 0;
        let mut coming = connection.fetch_many(asking);
        while let Some(came) = coming.next().await {
            match came.map_err(failed)? {
                Either::Right(row) if at < N => answers[at].push(QueryResult::from(row)),
                Either::Right(_) => {}
                // The end of one question's rows.
                Either::Left(_) => at += 1,
            }
        }
        Ok(answers)
    }
}

fn not_acquired(error: SqlxError) -> DbErr {
    match error {
        SqlxError::PoolTimedOut => DbErr::ConnectionAcquire(ConnAcquireErr::Timeout),
        SqlxError::PoolClosed => DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed),
        error => DbErr::Conn(RuntimeErr::SqlxError(error.into())),
    }
}

fn failed(error: SqlxError) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(error.into()))
}
