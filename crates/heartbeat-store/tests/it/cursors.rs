//! Every event once: over restarts, two schedulers at once, and files that were cut or replaced.

use std::time::Duration;

use heartbeat_store::{EventsKept, HeartbeatStore, Recorder};
use labstation_commands::{EventCursor, Resync};
use serde_json::Value;
use store_support::{Database, each_backend};
use tokio::sync::Mutex;

use crate::polls::{at_once, document, host, line, minute, read, record_all, with_events};
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
        assert_eq!(recorder.figures().resyncs, 3);
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
}
