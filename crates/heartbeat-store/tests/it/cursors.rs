//! Every event once: over restarts, two schedulers at once, and files that were cut or replaced.

use std::time::Duration;

use heartbeat_store::{EventsKept, HeartbeatStore, Keep, Recorder};
use labstation_commands::{EventCursor, Resync};
use serde_json::Value;
use store_support::{Database, each_backend};
use tokio::sync::Mutex;

use crate::polls::{at_once, batches_of, document, host, line, minute, read, record_all, with_events};
use crate::{a_store, count, rows};

async fn cursor(store: &HeartbeatStore) -> Option<EventCursor> {
    let name = host(1).name;
    store
        .event_cursors(std::slice::from_ref(&name))
        .await
        .unwrap()
        .remove(&name)
}

/// The users of the stored events, in the order of their ids.
async fn users(db: &Database) -> Vec<String> {
    let found = rows(db, "SELECT payload FROM lab_host_events ORDER BY id").await;
    let user = |row: &sea_orm::QueryResult| {
        row.try_get_by_index::<Value>(0).unwrap()["user"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    found.iter().map(user).collect()
}

/// One poll of the file, from where the poller believes the store to be; gives what it believes then.
async fn poll(
    recorder: &Recorder,
    file: &[u8],
    from: Option<EventCursor>,
    now: i64,
) -> (EventsKept, Option<EventCursor>) {
    let batch = read(file, from);
    let report = with_events(host(1), minute(now), &document(minute(now), true), Some(batch));
    let events = record_all(recorder, vec![report]).await.remove(0).events;
    let next = match &events {
        EventsKept::Stored { to, .. } => Some(*to),
        EventsKept::Stale { cursor } => *cursor,
        EventsKept::None => from,
    };
    (events, next)
}

each_backend! {
    async fn two_schedulers_that_read_one_file_store_each_event_once(test) {
        let store = a_store(&test).await;
        let file = std::sync::Arc::new(Mutex::new(Vec::new()));
        let mut pollers = Vec::new();
        for _ in 0..2 {
            let (recorder, task) = Recorder::start(HeartbeatStore::new(test.reopen().await), at_once());
            let file = std::sync::Arc::clone(&file);
            pollers.push(tokio::spawn(async move {
                let (mut believed, mut stale, mut rounds) = (None, 0, 0);
                while rounds < 60 {
                    let bytes = {
                        let mut file = file.lock().await;
                        let number = file.iter().filter(|byte| **byte == b'\n').count();
                        if number < 100 {
                            file.extend(line(number).bytes());
                        }
                        file.clone()
                    };
                    let (events, next) = poll(&recorder, &bytes, believed, rounds).await;
                    stale += usize::from(matches!(events, EventsKept::Stale { .. }));
                    believed = next;
                    rounds += 1;
                }
                let bytes = file.lock().await.clone();
                let (_, next) = poll(&recorder, &bytes, believed, 100).await;
                poll(&recorder, &bytes, next, 101).await;
                assert!(task.close(Duration::from_secs(20)).await);
                stale
            }));
        }
        let mut stale = 0;
        for poller in pollers {
            stale += poller.await.unwrap();
        }
        assert!(stale > 0, "they met");
        let expected: Vec<String> = (0..100).map(|number| format!("LAB\\user{number}")).collect();
        assert_eq!(users(test.database()).await, expected);
        assert_eq!(count(test.database(), "SELECT COUNT(*) FROM ops_event_cursors").await, 1);
        assert!(cursor(&store).await.is_some());
    }

    async fn after_a_restart_reading_goes_on_where_the_store_is(test) {
        let mut file = Vec::new();
        a_store(&test).await;
        for number in 0..5 {
            file.extend(line(number).bytes());
            let store = HeartbeatStore::new(test.reopen().await);
            let (recorder, task) = Recorder::start(store.clone(), at_once());
            let from = cursor(&store).await;
            assert_eq!(from.is_none(), number == 0);
            let (events, next) = poll(&recorder, &file, from, i64::try_from(number).unwrap()).await;
            assert_eq!(events, EventsKept::Stored { new: 1, to: next.unwrap() });
            assert_eq!(cursor(&store).await, next);
            task.close(Duration::from_secs(20)).await;
        }
        assert_eq!(users(test.database()).await.len(), 5);
    }

    async fn a_file_that_was_cut_or_replaced_is_compared_with_what_is_stored(test) {
        let store = a_store(&test).await;
        let (recorder, task) = Recorder::start(store.clone(), at_once());
        let lines = |range: std::ops::Range<usize>| -> Vec<u8> { range.flat_map(|n| line(n).into_bytes()).collect() };
        let (_, from) = poll(&recorder, &lines(0..6), None, 0).await;
        // It lost its head, and has the same line twice at its end.
        let mut cut = lines(4..8);
        cut.extend(line(7).bytes());
        let batch = read(&cut, from);
        assert!(batch.resync.is_some());
        let (_, from) = poll(&recorder, &cut, from, 1).await;
        assert_eq!(users(test.database()).await.len(), 9, "user7 twice, as the station wrote it");
        // Another file with two old events, and a new one.
        let mut other = lines(1..3);
        other.extend(line(20).bytes());
        let batch = read(&other, from);
        assert!(matches!(batch.resync, Some(Resync::Truncated | Resync::Replaced)));
        let (events, from) = poll(&recorder, &other, from, 2).await;
        assert!(matches!(events, EventsKept::Stored { new: 1, .. }), "{events:?}");
        // An empty one.
        let (events, from) = poll(&recorder, b"", from, 3).await;
        assert!(matches!(events, EventsKept::Stored { new: 0, .. }), "{events:?}");
        let (_, _) = poll(&recorder, &lines(30..31), from, 4).await;
        let all = users(test.database()).await;
        assert_eq!(all.len(), 11);
        // What stands where old events stood is compared as well.
        assert_eq!(recorder.figures().resyncs, 4);
        task.close(Duration::from_secs(20)).await;
    }

    async fn what_an_older_version_stored_is_not_stored_again_at_first_sight(test) {
        let store = a_store(&test).await;
        let file: Vec<u8> = (0..3).flat_map(|number| line(number).into_bytes()).collect();
        let events = read(&file, None).events;
        assert!(store.record_event(&host(1), &events[1], minute(0), minute(0)).await.unwrap());
        let (recorder, task) = Recorder::start(store.clone(), at_once());
        let (events, _) = poll(&recorder, &file, None, 1).await;
        assert!(matches!(events, EventsKept::Stored { new: 2, .. }), "{events:?}");
        assert_eq!(users(test.database()).await.len(), 3);
        task.close(Duration::from_secs(20)).await;
    }

    async fn what_of_a_replaced_file_may_be_stored_is_known_to_whoever_reads_on(test) {
        let store = a_store(&test).await;
        let all: Vec<u8> = (0..40).flat_map(|n| line(n).into_bytes()).collect();
        let (recorder, task) = Recorder::start(store.clone(), at_once());
        let (_, from) = poll(&recorder, &all, None, 0).await;
        // Another file, from a backup, that has them all behind a new line; its first piece is read by the one, and the
        // rest, after that one was killed, by another.
        let other = [line(50).into_bytes(), all[..all.len() - line(39).len()].to_vec()].concat();
        let place = from.unwrap().in_other_file(None, other.len() as u64);
        let piece = labstation_commands::Piece { at: 0, bytes: &other[..other.len() / 2], is_end: false };
        let batch = labstation_commands::EventBatch {
            from,
            resync: Some(Resync::Replaced),
            ..place.advance(piece).unwrap()
        };
        let report = with_events(host(1), minute(1), &document(minute(1), true), Some(batch));
        record_all(&recorder, vec![report]).await;
        task.close(Duration::from_secs(20)).await;
        let (recorder, task) = Recorder::start(HeartbeatStore::new(test.reopen().await), at_once());
        let from = cursor(&store).await;
        assert_eq!(from.unwrap().repeats_until, all.len() as u64);
        let (events, from) = poll(&recorder, &other, from, 2).await;
        assert!(matches!(events, EventsKept::Stored { new: 0, .. }), "{events:?}");
        assert_eq!((from.unwrap().offset, from.unwrap().repeats_until), (other.len() as u64, 0));
        assert_eq!(users(test.database()).await.len(), 41);
        task.close(Duration::from_secs(20)).await;
    }

    async fn what_was_read_from_a_place_the_first_time_is_not_stored_the_second_time(test) {
        let store = a_store(&test).await;
        let (recorder, task) = Recorder::start(store.clone(), at_once());
        let (_, start) = poll(&recorder, b"", None, 0).await;
        // One reader is slow to hand over what it has read.
        let slow = read(line(0).as_bytes(), start);
        let (_, from) = poll(&recorder, line(0).as_bytes(), start, 1).await;
        // The file is emptied: again it is read from its head on.
        let (_, from) = poll(&recorder, b"", from, 2).await;
        assert_eq!(from.unwrap().offset, 0);
        let report = with_events(host(1), minute(3), &document(minute(3), true), Some(slow));
        let events = record_all(&recorder, vec![report]).await.remove(0).events;
        assert_eq!(events, EventsKept::Stale { cursor: from });
        assert_eq!(users(test.database()).await.len(), 1);
        task.close(Duration::from_secs(20)).await;
    }

    async fn reports_of_one_batch_that_are_compared_know_of_each_other(test) {
        let store = a_store(&test).await;
        let lines = |range: std::ops::Range<usize>| -> Vec<u8> { range.flat_map(|n| line(n).into_bytes()).collect() };
        let (recorder, task) = Recorder::start(store.clone(), at_once());
        let (_, from) = poll(&recorder, &lines(0..4), None, 0).await;
        task.close(Duration::from_secs(20)).await;
        // Both halves of another file with the same events and two new ones are stored together.
        let other = [lines(8..9), lines(0..4), lines(9..10)].concat();
        let half = line(8).len() + 2 * line(0).len();
        let place = from.unwrap().in_other_file(None, other.len() as u64);
        let piece = |bytes| labstation_commands::Piece { at: 0, bytes, is_end: true };
        let first = labstation_commands::EventBatch {
            from,
            resync: Some(Resync::Replaced),
            ..place.advance(piece(&other[..half])).unwrap()
        };
        let second = first.to.advance(piece(&other)).unwrap();
        assert_eq!((first.events.len(), second.events.len(), second.resync), (3, 3, Some(Resync::Replaced)));
        let (recorder, task) = Recorder::start(store.clone(), batches_of(2, Keep::Every));
        let reports = [first, second].map(|batch| with_events(host(1), minute(1), &document(minute(1), true), Some(batch)));
        let kept = record_all(&recorder, reports.into()).await;
        let new = |kept: &EventsKept| match kept { EventsKept::Stored { new, .. } => Some(*new), _ => None };
        assert_eq!((new(&kept[0].events), new(&kept[1].events)), (Some(1), Some(1)), "{kept:?}");
        assert_eq!(users(test.database()).await.len(), 6);
        task.close(Duration::from_secs(20)).await;
    }
}
