//! Every event once, whatever becomes of the file and of those who read it: random histories of one file that is appended
//! to, rotated, cut, put back and rewritten under two readers, each of whom may be killed between any two steps.

use std::collections::BTreeSet;

use heartbeat_store::{EventsKept, HeartbeatStore, HostRecord};
use labstation_commands::{EventBatch, EventCursor, EventReading, EventsStep, ReadLimits};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::Value;
use store_support::each_backend;
use store_support::test_support::TestDatabase;

use crate::polls::{document, host, minute, read_on, with_events};
use crate::{a_store, at, rows};

/// So small that files are soon longer than what is read at once, and than what is searched.
const LIMITS: ReadLimits = ReadLimits {
    piece: 640,
    pieces: 2,
    longest: 1 << 20,
    line: 160,
    anchor: 160,
};

#[derive(Debug, Clone)]
enum Op {
    /// Whole lines, each with so many bytes more than it needs; some without an event.
    Append(Vec<Line>),
    /// A part of a line, which is finished before anything else is written.
    Tear(usize),
    /// An empty file takes the place of this one.
    Rotate,
    /// For a while there is no file.
    Vanish,
    /// The last lines, and all that nobody has stored, in place of the whole: at once, or in so many parts.
    Keep { lines: usize, parts: usize },
    /// All that was ever written, from a backup.
    PutBack,
    /// One of the two readers takes so many steps, and hands over what it has read when it comes to it.
    Read { reader: usize, steps: usize },
    /// One of the two hands over what it has read.
    Store { reader: usize },
    /// One of the two is killed, and begins again from what is stored.
    Kill { reader: usize },
}

#[derive(Debug, Clone)]
enum Line {
    Event(usize),
    Bad(usize),
    Blank,
}

fn any_line() -> impl Strategy<Value = Line> {
    prop_oneof![
        12 => (0_usize..90).prop_map(Line::Event),
        1 => (0_usize..300).prop_map(Line::Bad),
        1 => Just(Line::Blank),
    ]
}

fn any_op() -> impl Strategy<Value = Op> {
    let reader = 0_usize..2;
    prop_oneof![
        6 => prop::collection::vec(any_line(), 1..12).prop_map(Op::Append),
        1 => (1_usize..60).prop_map(Op::Tear),
        1 => Just(Op::Rotate),
        1 => Just(Op::Vanish),
        2 => (0_usize..30, 1_usize..4).prop_map(|(lines, parts)| Op::Keep { lines, parts }),
        1 => Just(Op::PutBack),
        12 => (reader.clone(), 1_usize..8).prop_map(|(reader, steps)| Op::Read { reader, steps }),
        5 => reader.clone().prop_map(|reader| Op::Store { reader }),
        2 => reader.prop_map(|reader| Op::Kill { reader }),
    ]
}

/// A scheduler.
#[derive(Default)]
struct Reader {
    /// Where it believes the store to be; outer nothing: it has to ask.
    believed: Option<Option<EventCursor>>,
    reading: Option<EventReading>,
    read: Option<EventBatch>,
}

struct World {
    store: HeartbeatStore,
    host: HostRecord,
    file: Option<Vec<u8>>,
    /// Parts of the file that is being written, the next one last.
    coming: Vec<Vec<u8>>,
    ever: Vec<u8>,
    numbers: u64,
    /// Events that left the file before anybody had stored them.
    lost: BTreeSet<u64>,
    readers: [Reader; 2],
    clock: i64,
}

fn events_in(bytes: &[u8]) -> Vec<u64> {
    let events = labstation_commands::parse_events(bytes).events;
    events
        .iter()
        .map(|event| event.raw["n"].as_u64().unwrap())
        .collect()
}

impl World {
    fn new(store: HeartbeatStore, case: usize) -> Self {
        Self {
            store,
            host: host(case),
            file: Some(Vec::new()),
            coming: Vec::new(),
            ever: Vec::new(),
            numbers: 0,
            lost: BTreeSet::new(),
            readers: Default::default(),
            clock: 0,
        }
    }

    async fn stored(&self, test: &TestDatabase) -> Vec<u64> {
        let sql = format!(
            "SELECT e.payload FROM lab_host_events e JOIN lab_hosts h ON h.id = e.host_id WHERE h.name = '{}' ORDER BY e.id",
            self.host.name.as_str()
        );
        let found = rows(test.database(), &sql).await;
        let number =
            |row: &sea_orm::QueryResult| row.try_get_by_index::<Value>(0).unwrap()["n"].as_u64().unwrap();
        found.iter().map(number).collect()
    }

    fn line(&mut self, line: &Line) -> Vec<u8> {
        self.numbers += 1;
        let number = self.numbers;
        let text = match line {
            // Several in a second.
            Line::Event(pad) => format!(
                "{{\"timestamp\":\"2026-03-01T08:{:02}:{:02}Z\",\"n\":{number},\"p\":\"{}\"}}\r\n",
                number / 180 % 60,
                number / 3 % 60,
                "x".repeat(*pad)
            ),
            Line::Bad(length) => format!("{}{number}\n", "y".repeat(*length)),
            Line::Blank => "\r\n".to_owned(),
        };
        text.into_bytes()
    }

    /// Whatever is being written is finished first.
    fn settle(&mut self) {
        if let Some(last) = self.coming.first().cloned() {
            self.file = Some(last);
            self.coming.clear();
        }
    }

    fn append(&mut self, bytes: Vec<u8>) {
        self.file.get_or_insert_default().extend(&bytes);
        self.ever.extend(bytes);
    }

    async fn becomes(&mut self, test: &TestDatabase, file: Vec<u8>, parts: usize) {
        let stored: BTreeSet<u64> = self.stored(test).await.into_iter().collect();
        let after: BTreeSet<u64> = events_in(&file).into_iter().collect();
        let before = events_in(self.file.as_deref().unwrap_or_default());
        let gone = before
            .into_iter()
            .filter(|n| !after.contains(n) && !stored.contains(n));
        self.lost.extend(gone);
        // The parts grow, and the first may be an empty file.
        self.coming = (1..=parts)
            .rev()
            .map(|part| file[..file.len() * (part - 1) / (parts.max(2) - 1)].to_vec())
            .collect();
        if parts == 1 {
            self.coming = vec![file];
        }
        self.file = self.coming.pop();
    }

    async fn write(&mut self, test: &TestDatabase, op: &Op) {
        if self.coming.len() > 1 || (self.coming.len() == 1 && matches!(op, Op::Tear(_))) {
            self.file = self.coming.pop();
            return;
        }
        self.settle();
        match op {
            Op::Append(lines) => {
                let bytes: Vec<u8> = lines.iter().flat_map(|line| self.line(line)).collect();
                self.append(bytes);
            }
            Op::Tear(at) => {
                let line = self.line(&Line::Event(40));
                let mut torn = self.file.clone().unwrap_or_default();
                torn.extend(&line[..*at]);
                let mut whole = self.file.clone().unwrap_or_default();
                whole.extend(&line);
                self.ever.extend(line);
                self.file = Some(torn);
                self.coming = vec![whole];
            }
            Op::Rotate => self.becomes(test, Vec::new(), 1).await,
            Op::Vanish => {
                let file = self.file.take();
                self.coming.extend(file);
            }
            Op::Keep { lines, parts } => {
                let file = self.file.clone().unwrap_or_default();
                let stored: BTreeSet<u64> = self.stored(test).await.into_iter().collect();
                let all: Vec<&[u8]> = file.split_inclusive(|byte| *byte == b'\n').collect();
                let unread = all
                    .iter()
                    .position(|line| events_in(line).iter().any(|n| !stored.contains(n)));
                let from = all.len().saturating_sub(*lines).min(unread.unwrap_or(all.len()));
                let kept = all[from..].concat();
                // Of a file that nobody has read, nobody can know how much will follow.
                let place = self
                    .store
                    .event_cursors(std::slice::from_ref(&self.host.name))
                    .await
                    .unwrap();
                let place = place.values().next().copied().unwrap_or_default();
                let is_known = place.offset.max(place.repeats_until) >= kept.len() as u64;
                self.becomes(test, kept, if is_known { *parts } else { 1 }).await;
            }
            Op::PutBack => self.becomes(test, self.ever.clone(), 1).await,
            Op::Read { .. } | Op::Store { .. } | Op::Kill { .. } => {}
        }
    }

    async fn read(&mut self, which: usize, steps: usize) {
        if self.readers[which].read.is_some() {
            return self.store(which).await;
        }
        if self.readers[which].believed.is_none() {
            let name = self.host.name.clone();
            let found = self
                .store
                .event_cursors(std::slice::from_ref(&name))
                .await
                .unwrap();
            self.readers[which].believed = Some(found.get(&name).copied());
        }
        let reader = &mut self.readers[which];
        let mut reading = reader.reading.take().unwrap_or_else(|| {
            let reading = match reader.believed.flatten() {
                Some(cursor) => EventReading::after(cursor),
                None => EventReading::first_sight(Some(at("1970-01-02T00:00:00Z"))),
            };
            reading.within(LIMITS)
        });
        match read_on(&mut reading, self.file.as_deref(), steps) {
            Some(batch) => reader.read = batch,
            None if matches!(reading.next_step(), EventsStep::Done(_)) => {
                reader.read = read_on(&mut reading, None, 1).unwrap();
            }
            None => reader.reading = Some(reading),
        }
    }

    async fn store(&mut self, which: usize) {
        let Some(batch) = self.readers[which].read.take() else {
            return;
        };
        self.clock += 1;
        let now = minute(self.clock);
        let report = with_events(self.host.clone(), now, &document(now, true), Some(batch));
        let kept = self.store.record_report(report).await.unwrap().events;
        self.readers[which].believed = Some(match kept {
            EventsKept::Stored { to, .. } => Some(to),
            EventsKept::Stale { cursor } => cursor,
            EventsKept::None => panic!("it had a cursor"),
        });
    }

    async fn take(&mut self, test: &TestDatabase, op: &Op) {
        match op {
            Op::Read { reader, steps } => self.read(*reader, *steps).await,
            Op::Store { reader } => self.store(*reader).await,
            Op::Kill { reader } => self.readers[*reader] = Reader::default(),
            write => self.write(test, write).await,
        }
    }

    /// Both read until neither finds anything new.
    async fn end(&mut self) {
        while !self.coming.is_empty() {
            self.file = self.coming.pop();
        }
        let mut idle = 0;
        for round in 0..2_000 {
            let before = self.readers[round % 2].believed;
            self.read(round % 2, usize::MAX).await;
            self.store(round % 2).await;
            let is_idle = before.is_some() && self.readers[round % 2].believed == before;
            idle = if is_idle { idle + 1 } else { 0 };
            if idle > 4 {
                return;
            }
        }
        panic!("reading comes to no end");
    }
}

/// Gives how many events were stored, how many could not be, and how often the readers met.
async fn all_cases(test: &TestDatabase, cases: usize) -> (usize, usize) {
    let store = a_store(test).await;
    let mut runner = TestRunner::deterministic();
    let ops = prop::collection::vec(any_op(), 20..90);
    let (mut stored, mut lost) = (0, 0);
    for case in 0..cases {
        let ops = ops.new_tree(&mut runner).unwrap().current();
        let mut world = World::new(store.clone(), case);
        // Of a file that is long when it is seen first, only the end is read.
        world
            .take(
                test,
                &Op::Append(vec![Line::Event(9), Line::Blank, Line::Event(20)]),
            )
            .await;
        world.read(0, usize::MAX).await;
        world.store(0).await;
        for op in &ops {
            world.take(test, op).await;
        }
        world.end().await;
        let found = world.stored(test).await;
        let once: BTreeSet<u64> = found.iter().copied().collect();
        let twice: Vec<u64> = found
            .iter()
            .copied()
            .filter(|n| found.iter().filter(|m| *m == n).count() > 1)
            .collect();
        assert!(
            twice.is_empty(),
            "case {case}: {twice:?} stored twice by {ops:#?}"
        );
        let written: BTreeSet<u64> = events_in(&world.ever).into_iter().collect();
        let missing: Vec<_> = written
            .iter()
            .filter(|n| !once.contains(n) && !world.lost.contains(n))
            .collect();
        assert!(
            missing.is_empty(),
            "case {case}: {missing:?} not stored after {ops:#?}"
        );
        (stored, lost) = (stored + found.len(), lost + world.lost.len());
    }
    (stored, lost)
}

each_backend! {
    async fn whatever_becomes_of_the_file_and_its_readers_each_event_is_stored_once(test) {
        let cases = if test.database().backend() == store_support::Backend::Sqlite { 60 } else { 12 };
        let (stored, lost) = all_cases(&test, cases).await;
        assert!(stored > 10 * cases, "{stored} events, and {lost} that were taken away unread");
    }
}
