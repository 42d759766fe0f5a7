//! The table, line by line.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use anyhow::Result;

#[derive(Debug, Default)]
pub(crate) struct Row {
    name: String,
    pub(crate) memory: String,
    pub(crate) sqlite: String,
    pub(crate) mariadb: String,
    pub(crate) older: String,
}

#[derive(Debug)]
pub(crate) struct Table {
    only: String,
    rows: Vec<Row>,
}

impl Table {
    pub(crate) fn new(only: &str) -> Self {
        Self {
            only: only.to_owned(),
            rows: Vec::new(),
        }
    }

    /// Adds a line, unless it was not asked for, and says on the way that it is done.
    pub(crate) fn measure(&mut self, name: &str, fill: impl FnOnce(&mut Row) -> Result<()>) -> Result<()> {
        if !name.contains(&self.only) {
            return Ok(());
        }
        let mut row = Row {
            name: name.to_owned(),
            ..Row::default()
        };
        fill(&mut row)?;
        writeln!(io::stderr(), "{}", line(&row.cells()))?;
        self.rows.push(row);
        Ok(())
    }

    pub(crate) fn text(&self) -> String {
        let head = [
            "what",
            "virtual time, store in memory",
            "SQLite",
            "MariaDB",
            "older worker",
        ];
        let mut text = format!("{}\n|---|---|---|---|---|\n", line(&head));
        for row in &self.rows {
            let _ = writeln!(text, "{}", line(&row.cells()));
        }
        text
    }
}

impl Row {
    fn cells(&self) -> [&str; 5] {
        [&self.name, &self.memory, &self.sqlite, &self.mariadb, &self.older]
    }
}

fn line(cells: &[&str; 5]) -> String {
    let shown = cells.map(|cell| if cell.is_empty() { "-" } else { cell });
    format!("| {} |", shown.join(" | "))
}
