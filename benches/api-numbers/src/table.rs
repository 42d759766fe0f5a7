//! The table, line by line.

use std::fmt::Write as _;

/// The column of the bare server.
pub(crate) const BARE: usize = 2;

const HEAD: [&str; 3] = ["SQLite", "MariaDB", "bare hyper"];

#[derive(Debug, Default)]
pub(crate) struct Table {
    only: String,
    rows: Vec<(String, [String; 3])>,
}

impl Table {
    pub(crate) fn new(only: &str) -> Self {
        Self {
            only: only.to_owned(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn only(&self) -> &str {
        &self.only
    }

    /// Whether a line of that name was asked for.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || name.contains(&self.only) || self.only.contains(name)
    }

    /// Fills in a cell, and says on the way that it is done.
    pub(crate) fn put(&mut self, name: &str, column: usize, text: &str) {
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "{name} | {} | {text}", HEAD[column]);
        let at = self.rows.iter().position(|(known, _)| known == name);
        let at = at.unwrap_or_else(|| {
            self.rows.push((name.to_owned(), <[String; 3]>::default()));
            self.rows.len() - 1
        });
        self.rows[at].1[column] = text.to_owned();
    }

    /// Takes over what another table has.
    pub(crate) fn join(&mut self, other: Self) {
        for (name, cells) in other.rows {
            for (column, text) in cells.iter().enumerate().filter(|(_, text)| !text.is_empty()) {
                match self.rows.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, cells)) => cells[column].clone_from(text),
                    None => {
                        let mut cells = <[String; 3]>::default();
                        cells[column].clone_from(text);
                        self.rows.push((name.clone(), cells));
                    }
                }
            }
        }
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!("| what | {} |\n|---|---|---|---|\n", HEAD.join(" | "));
        for (name, cells) in &self.rows {
            let shown: Vec<&str> = cells
                .iter()
                .map(|cell| if cell.is_empty() { "-" } else { cell })
                .collect();
            let _ = writeln!(text, "| {name} | {} |", shown.join(" | "));
        }
        text
    }
}
