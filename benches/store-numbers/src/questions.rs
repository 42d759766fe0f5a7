//! How long each question takes among few rows and among many.

use std::time::Duration;

use anyhow::Result;
use chrono::TimeDelta;
use heartbeat_store::{Field, HeartbeatStore, HistoryAsk};
use lab_model::HostName;
use store_support::Database;
use tokio::time::Instant;

use crate::Args;
use crate::fill::{HOSTS, begin, tables};
use crate::place::{Kind, fresh};
use crate::table::{grouped, head, line, millis, quantile};

/// What is asked, and how it is called in the table.
const QUESTIONS: [(&str, Question); 7] = [
    ("latest of a host", Question::Latest),
    ("fleet of 100 hosts", Question::Fleet),
    ("history of a field, 24 h in 96 steps", Question::History),
    ("100 events since an id", Question::Events),
    ("100 events of a host since an id", Question::EventsOfHost),
    ("hours of a host, 24", Question::Hours),
    ("hours of all hosts, 24", Question::HoursOfAll),
];

#[derive(Debug, Clone, Copy)]
enum Question {
    Latest,
    Fleet,
    History,
    Events,
    EventsOfHost,
    Hours,
    HoursOfAll,
}

/// The table.
pub(crate) async fn measure(args: &Args, kinds: &[Kind]) -> Result<String> {
    let mut columns = vec!["question".to_owned(), "database".to_owned()];
    let sizes = args.sizes.iter();
    columns.extend(sizes.map(|rows| format!("{} rows: p50 / p99", grouped(*rows as f64))));
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut text = head(&columns);
    for kind in kinds.iter().copied() {
        let mut cells = vec![Vec::new(); QUESTIONS.len()];
        for rows in args.sizes.iter().copied() {
            let asks = args.asks;
            let answered = fresh(kind, move |db| async move { ask_all(&db, rows, asks).await });
            let Some(answered) = Box::pin(answered).await? else {
                continue;
            };
            for (cells, cell) in cells.iter_mut().zip(answered) {
                cells.push(cell);
            }
        }
        for ((name, _), cells) in QUESTIONS.iter().zip(cells).filter(|(_, cells)| !cells.is_empty()) {
            let mut all = vec![(*name).to_owned(), kind.name().to_owned()];
            all.extend(cells);
            text += &line(&all);
        }
    }
    Ok(text + "\n")
}

async fn ask_all(db: &Database, rows: i64, asks: u32) -> Result<Vec<String>> {
    tables(db, rows).await?;
    let store = HeartbeatStore::new(db.clone());
    let mut cells = Vec::new();
    for (_, question) in QUESTIONS {
        let mut took = Vec::new();
        for n in 0..asks {
            let began = Instant::now();
            ask(&store, question, rows, n).await?;
            took.push(began.elapsed());
        }
        let at = |percent| quantile(&took, percent).unwrap_or(Duration::ZERO);
        cells.push(format!("{} / {}", millis(at(50)), millis(at(99))));
    }
    Ok(cells)
}

/// Somewhere in the middle of what is stored, of another host each time.
async fn ask(store: &HeartbeatStore, question: Question, rows: i64, n: u32) -> Result<()> {
    let host = HostName::parse(&format!("h-{}", i64::from(n) * 7 % HOSTS))?;
    let each = rows / HOSTS;
    let middle = begin() + TimeDelta::minutes(each / 2);
    let middle_hour = begin() + TimeDelta::hours(each / 2);
    let day = TimeDelta::hours(24);
    match question {
        Question::Latest => anyhow::ensure!(store.latest(&host).await?.is_some(), "no report"),
        Question::Fleet => anyhow::ensure!(store.host_states().await?.len() as i64 == HOSTS, "no fleet"),
        Question::History => {
            let ask = HistoryAsk {
                field: Field::Ready,
                from: middle - day,
                to: middle,
                step: Duration::from_secs(900),
            };
            anyhow::ensure!(store.history(&host, &ask).await?.len() == 96, "no history");
        }
        Question::Events => {
            let page = store.events_since(rows / 2, None, 100, middle).await?;
            anyhow::ensure!(page.events.len() == 100, "no events");
        }
        Question::EventsOfHost => {
            let page = store.events_since(rows / 4, Some(&host), 100, middle).await?;
            anyhow::ensure!(!page.events.is_empty(), "no events of a host");
        }
        Question::Hours => {
            let hours = store.hours(Some(&host), middle_hour - day, middle_hour).await?;
            anyhow::ensure!(hours.len() == 24, "no hours");
        }
        Question::HoursOfAll => {
            let hours = store.hours(None, middle_hour - day, middle_hour).await?;
            anyhow::ensure!(hours.len() == 24, "no hours");
        }
    }
    Ok(())
}
