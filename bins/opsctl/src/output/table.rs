//! Rows and columns: with borders and colours on a terminal, aligned plain text in a pipe.

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{Attribute, Color, ContentArrangement};

use super::{Style, clean};

/// What a cell's content means to whoever looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Warning,
    Bad,
    Faint,
}

impl Tone {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Good => Some("32"),
            Self::Warning => Some("33"),
            Self::Bad => Some("31"),
            Self::Faint => Some("2"),
        }
    }

    /// Colours a piece of text that is clean already.
    pub(crate) fn paint(self, text: &str, style: &Style) -> String {
        match self.code().filter(|_| style.colour && !text.is_empty()) {
            Some(code) => format!("\x1b[{code}m{text}\x1b[0m"),
            None => text.to_owned(),
        }
    }
}

/// One piece of a row. Its text is made harmless here.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(crate) fn toned(text: impl AsRef<str>, tone: Tone) -> Self {
        Self {
            text: clean(text.as_ref()),
            tone,
        }
    }

    /// What is not known is a dash.
    pub(crate) fn or_dash(text: Option<impl AsRef<str>>) -> Self {
        match text {
            Some(text) if !text.as_ref().is_empty() => Self::from(text.as_ref()),
            _ => Self::toned("-", Tone::Faint),
        }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

/// A table under its column names.
#[derive(Debug)]
pub(crate) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) fn new<const N: usize>(header: [&'static str; N]) -> Self {
        Self {
            header: header.to_vec(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        debug_assert_eq!(N, self.header.len());
        self.rows.push(cells.to_vec());
    }

    /// All of it, or the sentence when there is nothing.
    pub(crate) fn render(&self, style: &Style, nothing: &str) -> String {
        if self.rows.is_empty() {
            return format!("{nothing}\n");
        }
        if style.terminal {
            self.with_borders(style)
        } else {
            self.aligned(style)
        }
    }

    fn with_borders(&self, style: &Style) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(UTF8_BORDERS_ONLY);
        table.set_content_arrangement(ContentArrangement::Dynamic);
        if style.colour {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        let header = self
            .header
            .iter()
            .map(|name| comfy_table::Cell::new(name).add_attribute(Attribute::Bold));
        table.set_header(header);
        for row in &self.rows {
            table.add_row(row.iter().map(|cell| {
                let shown = comfy_table::Cell::new(&cell.text);
                match cell.tone {
                    Tone::Plain => shown,
                    Tone::Good => shown.fg(Color::Green),
                    Tone::Warning => shown.fg(Color::Yellow),
                    Tone::Bad => shown.fg(Color::Red),
                    Tone::Faint => shown.add_attribute(Attribute::Dim),
                }
            }));
        }
        format!("{table}\n")
    }

    fn aligned(&self, style: &Style) -> String {
        let mut widths: Vec<usize> = self.header.iter().map(|name| name.len()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        let header: Vec<Cell> = self
            .header
            .iter()
            .map(|name| Cell::from(name.to_uppercase()))
            .collect();
        let mut text = String::new();
        for row in std::iter::once(&header).chain(&self.rows) {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let pad = if column + 1 == row.len() {
                    0
                } else {
                    width + 2 - cell.text.chars().count()
                };
                line.push_str(&cell.tone.paint(&cell.text, style));
                line.extend(std::iter::repeat_n(' ', pad));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Names and values below each other, as for one thing.
pub(super) fn facts(facts: &[(&str, Option<Cell>)], style: &Style) -> String {
    let known: Vec<(&str, &Cell)> = facts
        .iter()
        .filter_map(|(name, cell)| Some((*name, cell.as_ref()?)))
        .collect();
    let width = known.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, cell) in known {
        let name = Tone::Faint.paint(&format!("{name:width$}"), style);
        text.push_str(&format!("{name}  {}\n", cell.tone.paint(&cell.text, style)));
    }
    text
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;
    use crate::when::{Moment, Zone};

    fn style(terminal: bool, colour: bool) -> Style {
        let moment = Moment {
            now: DateTime::<Utc>::UNIX_EPOCH,
            zone: Zone::Local,
        };
        Style {
            terminal,
            colour,
            moment,
        }
    }

    fn table() -> Table {
        let mut table = Table::new(["host", "verdict"]);
        table.row(["lab-ws-01".into(), Cell::toned("fresh", Tone::Good)]);
        table.row(["x\x1b[2J".into(), Cell::or_dash(None::<&str>)]);
        table
    }

    #[test]
    fn in_a_pipe_it_is_aligned_plain_text() {
        let text = table().render(&style(false, false), "none");
        assert_eq!(text, "HOST        VERDICT\nlab-ws-01   fresh\nx\\u{1b}[2J  -\n");
    }

    #[test]
    fn colours_come_only_when_asked_for_and_only_ours() {
        let text = table().render(&style(false, true), "none");
        assert!(text.contains("\x1b[32mfresh\x1b[0m"), "{text}");
        assert!(!text.contains("\x1b[2J"), "{text}");
        for terminal in [false, true] {
            assert!(!table().render(&style(terminal, false), "none").contains('\x1b'));
        }
        assert!(table().render(&style(true, true), "none").contains("\x1b["));
    }

    #[test]
    fn an_empty_table_is_a_sentence() {
        assert_eq!(
            Table::new(["a"]).render(&style(true, true), "No hosts."),
            "No hosts.\n"
        );
    }

    #[test]
    fn facts_leave_out_what_is_not_known() {
        let facts = facts(
            &[
                ("host", Some("a".into())),
                ("mac", None),
                ("address", Some("b".into())),
            ],
            &style(false, false),
        );
        assert_eq!(facts, "host     a\naddress  b\n");
    }
}
