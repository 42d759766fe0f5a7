//! The cells of the main table.

use anyhow::Result;

use crate::cell::{Cell, Figures};
use crate::database::{Kind, Server};
use crate::{Args, table, tell};

/// All cells that were asked for: with so many hosts and so long an interval that up to 170 polls a second are due.
pub(crate) fn cells(args: &Args) -> Vec<Cell> {
    let mut cells = Vec::new();
    for (hosts, interval_secs) in [(100, 1), (1000, 6), (10_000, 60)] {
        for database in [Kind::Sqlite, Kind::MariaDb] {
            for sick_percent in [0, 5, 50] {
                cells.push(Cell {
                    hosts,
                    tls: false,
                    sick_percent,
                    database,
                    interval_secs,
                });
            }
        }
    }
    cells.push(Cell {
        hosts: 1000,
        tls: true,
        sick_percent: 0,
        database: Kind::Sqlite,
        interval_secs: 6,
    });
    cells.retain(|cell| cell.hosts <= args.most_hosts && cell.name().contains(&args.only));
    cells
}

pub(crate) async fn measure(args: &Args) -> Result<String> {
    let mut lines: Vec<(Cell, Result<Figures>)> = Vec::new();
    let mut server = None;
    for cell in cells(args) {
        if cell.database == Kind::MariaDb && server.is_none() {
            server = Some(Server::start()?);
        }
        tell(&format!("{} ...", cell.name()));
        let figures = cell.measure(args, server.as_ref()).await;
        match &figures {
            Ok(figures) => tell(&table::line(&cell, figures)),
            Err(error) => tell(&format!("{}: {error:#}", cell.name())),
        }
        lines.push((cell, figures));
    }
    Ok(table::text(&lines))
}
