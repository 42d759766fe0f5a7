//! The live table.

use std::time::Duration;

use anyhow::Context;
use host_sim::PowerState;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, LineGauge, Paragraph, Row as TableRow, Table, Wrap};
use ratatui::{DefaultTerminal, Frame};

use crate::day::LIMIT;
use crate::plain::power_word;
use crate::watch::{ReservedRow, Row, Snapshot};

const COLUMNS: [(&str, Constraint); 8] = [
    ("host", Constraint::Length(9)),
    ("power", Constraint::Length(8)),
    ("heartbeat", Constraint::Length(9)),
    ("reservation", Constraint::Length(11)),
    ("second", Constraint::Length(6)),
    ("status", Constraint::Length(9)),
    ("step", Constraint::Fill(1)),
    ("punctuality", Constraint::Length(12)),
];

/// A terminal that was taken; dropping it gives the terminal back, and so does a panic.
pub(crate) struct Screen {
    terminal: DefaultTerminal,
    heading: Vec<String>,
}

impl Screen {
    /// Takes the terminal.
    pub(crate) fn open(heading: Vec<String>) -> anyhow::Result<Self> {
        let taken = ratatui::try_init().inspect_err(|_| ratatui::restore());
        let terminal = taken.context("take the terminal (--plain does without)")?;
        Ok(Self { terminal, heading })
    }

    /// Draws the table anew.
    pub(crate) fn draw(&mut self, snapshot: &Snapshot) -> anyhow::Result<()> {
        let heading = &self.heading;
        self.terminal
            .draw(|frame| frame_of(frame, heading, snapshot))
            .context("draw the table")?;
        Ok(())
    }

    /// Whether Ctrl-C, q or Escape was pressed since the last call.
    pub(crate) fn wants_to_leave(&self) -> anyhow::Result<bool> {
        while event::poll(Duration::ZERO).context("look for a key")? {
            if let Event::Key(key) = event::read().context("read a key")? {
                let interrupted =
                    key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                let leaves = interrupted || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc);
                if leaves && key.kind == KeyEventKind::Press {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

fn frame_of(frame: &mut Frame<'_>, heading: &[String], snapshot: &Snapshot) {
    let rows = u16::try_from(snapshot.rows.len()).unwrap_or(u16::MAX);
    let lines = u16::try_from(heading.len()).unwrap_or(u16::MAX);
    let [title, clock, _, table, _, below] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(rows.saturating_add(1)),
        Constraint::Length(1),
        Constraint::Length(lines.saturating_add(3)),
    ])
    .areas(frame.area());
    let name = Line::from(vec![
        " Lab Ops ".bold().black().on_cyan(),
        "  a small lab's day, at normal speed".into(),
    ]);
    frame.render_widget(name, title);
    draw_clock(frame, clock, snapshot);
    frame.render_widget(table_of(snapshot), table);
    frame.render_widget(
        Paragraph::new(text_below(heading, snapshot)).wrap(Wrap { trim: false }),
        below,
    );
}

fn draw_clock(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot) {
    let (settled, all) = snapshot.settled;
    let limit = LIMIT as f64;
    let label = format!(
        "{:3.0} s gone, {:3.0} s left at most   {settled} of {all} reservations settled ",
        snapshot.elapsed,
        (limit - snapshot.elapsed).max(0.0)
    );
    let ratio = settled as f64 / all.max(1) as f64;
    let gauge = LineGauge::default()
        .ratio(ratio.clamp(0.0, 1.0))
        .label(label)
        .filled_style(Style::new().cyan());
    frame.render_widget(gauge, area);
}

fn table_of(snapshot: &Snapshot) -> Table<'static> {
    let header = TableRow::new(COLUMNS.map(|(name, _)| name)).style(Style::new().add_modifier(Modifier::DIM));
    Table::new(
        snapshot.rows.iter().map(table_row),
        COLUMNS.map(|(_, width)| width),
    )
    .header(header)
    .column_spacing(1)
}

fn table_row(row: &Row) -> TableRow<'static> {
    let (host, is_first) = &row.host;
    let mut cells = if *is_first {
        vec![
            Cell::from(host.clone()),
            Cell::from(Span::styled(power_word(row.power), power_style(row.power))),
            Cell::from(row.heartbeat.clone()),
        ]
    } else {
        // Not the default cell: that one spans no column.
        vec![Cell::from(""), Cell::from(""), Cell::from("")]
    };
    match &row.reservation {
        Some(reservation) => cells.extend(reservation_cells(reservation)),
        None => cells.push(Cell::from("none".dim())),
    }
    TableRow::new(cells)
}

fn reservation_cells(reservation: &ReservedRow) -> [Cell<'static>; 5] {
    let punctuality = match reservation.on_time {
        Some(true) => Style::new().green(),
        Some(false) => Style::new().red(),
        None => Style::new(),
    };
    [
        Cell::from(reservation.id),
        Cell::from(reservation.window.clone()),
        Cell::from(Span::styled(reservation.status, status_style(reservation.status))),
        Cell::from(reservation.step.clone()),
        Cell::from(Span::styled(reservation.punctuality.clone(), punctuality)),
    ]
}

fn power_style(power: PowerState) -> Style {
    match power {
        PowerState::Off => Style::new().fg(Color::DarkGray),
        PowerState::Booting | PowerState::Opening | PowerState::ShuttingDown => Style::new().yellow(),
        PowerState::Ready => Style::new().green(),
    }
}

fn status_style(status: &str) -> Style {
    match status {
        "ACTIVE" => Style::new().green().bold(),
        "CANCELLED" => Style::new().magenta(),
        "COMPLETED" => Style::new().fg(Color::DarkGray),
        _ => Style::new(),
    }
}

fn text_below(heading: &[String], snapshot: &Snapshot) -> Vec<Line<'static>> {
    let troubles = snapshot.rows.iter().filter_map(|row| {
        let reservation = row.reservation.as_ref()?;
        let trouble = reservation.trouble.as_ref()?;
        Some(Line::from(format!("{}: {trouble}", reservation.id)).red())
    });
    let mut lines: Vec<Line<'static>> = heading.iter().map(|line| Line::from(line.clone())).collect();
    lines.push(Line::from("Ctrl-C or q leaves.").dim());
    lines.extend(troubles.take(1));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn a_row(host: &str, is_first: bool, id: &'static str, status: &'static str) -> Row {
        let reservation = ReservedRow {
            id,
            window: "26-50".to_owned(),
            status,
            step: "in use".to_owned(),
            punctuality: "14.0 s early".to_owned(),
            ready: true,
            on_time: Some(true),
            trouble: None,
        };
        let heartbeat = "3 s".to_owned();
        Row {
            host: (host.to_owned(), is_first),
            power: PowerState::Ready,
            heartbeat,
            reservation: Some(reservation),
        }
    }

    #[test]
    fn the_table_fits_eighty_columns_and_names_a_host_once() {
        let rows = vec![
            a_row("lab-ws-07", true, "pair-1", "COMPLETED"),
            a_row("lab-ws-07", false, "pair-2", "ACTIVE"),
        ];
        let snapshot = Snapshot {
            elapsed: 40.0,
            settled: (1, 2),
            rows,
        };
        let mut terminal = Terminal::new(TestBackend::new(80, 12)).unwrap();
        let heading = vec!["The API listens on http://127.0.0.1:8081".to_owned()];
        terminal
            .draw(|frame| frame_of(frame, &heading, &snapshot))
            .unwrap();
        let shown = terminal.backend().to_string();
        assert_eq!(shown.matches("lab-ws-07").count(), 1, "{shown}");
        for text in [
            "pair-2",
            "COMPLETED",
            "in use",
            "14.0 s early",
            "1 of 2 reservations settled",
            "127.0.0.1:8081",
        ] {
            assert!(shown.contains(text), "{text} in\n{shown}");
        }
    }
}
