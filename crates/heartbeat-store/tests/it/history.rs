//! What users ask of the past: one field over time, hours, events since an id.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use heartbeat_store::{AskProblem, Field, HistoryAsk, HistoryError, MAX_CHANGES};
use lab_model::HostName;
use sea_orm::ConnectionTrait as _;
use store_support::each_backend;

use crate::rows::{CHANGES, EVENTS, HOURS, STATES, change, event, hosts, hour, insert, state};
use crate::{a_store, at};

fn name(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

fn ask(field: Field, from: &str, to: &str, step: u64) -> HistoryAsk {
    HistoryAsk {
        field,
        from: at(from),
        to: at(to),
        step: Duration::from_secs(step),
    }
}

each_backend! {
    async fn a_field_is_told_step_by_step_with_what_was_before_the_window(test) {
        let (store, db) = (a_store(&test).await, test.database());
        let noon = at("2026-03-01T12:00:00Z");
        let minutes = |n: i64| noon + TimeDelta::minutes(n);
        insert(db, CHANGES, &[
            change("h-0", "ready", minutes(-600), Some("false")),
            change("h-0", "ready", minutes(-300), Some("true")),
            change("h-0", "ready", minutes(15), Some("false")),
            change("h-0", "ready", minutes(30), Some("true")),
            change("h-0", "ready", minutes(60), Some("false")),
            // Of other fields and hosts, and from behind the window.
            change("h-0", "local_mode", minutes(20), Some("true")),
            change("h-1", "ready", minutes(25), Some("false")),
            change("h-0", "ready", minutes(120), Some("true")),
        ]).await;
        insert(db, STATES, &[state("h-0", minutes(90), None)]).await;
        let asked = ask(Field::Ready, "2026-03-01T12:00:00Z", "2026-03-01T14:00:00Z", 3600);
        let points = store.history(&name("H-0"), &asked).await.unwrap();
        assert_eq!(points.len(), 2);
        assert_eq!((points[0].share(), points[0].changes, points[0].last.as_deref()), (Some(0.75), 2, Some("true")));
        assert_eq!((points[1].share().unwrap().round(), points[1].changes), (0.0, 1));
        assert_eq!(points[1].known.as_secs(), 1800, "nothing was heard after half past one");
        let never = store.history(&name("h-9"), &asked).await.unwrap();
        assert!(never.iter().all(|point| point.share().is_none() && point.last.is_none()));
    }

    async fn boots_are_told_with_their_instants(test) {
        let (store, db) = (a_store(&test).await, test.database());
        let noon = at("2026-03-01T12:00:00Z");
        insert(db, CHANGES, &[
            change("h-0", "boot", noon, Some("2026-03-01T11:59:00Z")),
            change("h-0", "boot", noon + TimeDelta::minutes(5), Some("2026-03-01T12:04:00Z")),
        ]).await;
        insert(db, STATES, &[state("h-0", noon + TimeDelta::hours(9), None)]).await;
        let asked = ask(Field::Boot, "2026-03-01T12:00:00Z", "2026-03-01T12:20:00Z", 600);
        let points = store.history(&name("h-0"), &asked).await.unwrap();
        let told: Vec<_> = points.iter().map(|point| (point.changes, point.last.as_deref().unwrap())).collect();
        assert_eq!(told, [(2, "2026-03-01T12:04:00Z"), (0, "2026-03-01T12:04:00Z")]);
    }

    async fn too_much_is_refused_with_what_may_be_asked(test) {
        let (store, db) = (a_store(&test).await, test.database());
        let noon = at("2026-03-01T12:00:00Z");
        let flaps: Vec<_> = (0..=MAX_CHANGES as i64)
            .map(|n| change("h-0", "ready", noon + TimeDelta::milliseconds(n), Some(["true", "false"][n as usize % 2])))
            .collect();
        insert(db, CHANGES, &flaps).await;
        let hour = ask(Field::Ready, "2026-03-01T12:00:00Z", "2026-03-01T13:00:00Z", 60);
        let refused = store.history(&name("h-0"), &hour).await;
        assert!(matches!(refused, Err(HistoryError::TooManyChanges { max: MAX_CHANGES })), "{refused:?}");
        let year = ask(Field::Ready, "2026-03-01T12:00:00Z", "2027-03-01T13:00:00Z", 60);
        let refused = store.history(&name("h-0"), &year).await;
        assert!(matches!(refused, Err(HistoryError::Ask(AskProblem::TooManyPoints { .. }))), "{refused:?}");
    }

    async fn hours_add_up_and_know_their_quantiles(test) {
        let (store, db) = (a_store(&test).await, test.database());
        let ten = at("2026-03-01T10:00:00Z");
        let hours = |n| ten + TimeDelta::hours(n);
        insert(db, HOURS, &[
            hour("h-0", hours(-1), 60, 0, 3_600_000),
            hour("h-0", hours(0), 60, 2, 1_800_000),
            hour("h-1", hours(0), 40, 20, 0),
            hour("h-0", hours(2), 10, 0, 3_600_000),
        ]).await;
        let one = store.hours(Some(&name("H-0")), hours(0), hours(3)).await.unwrap();
        let told: Vec<_> = one.iter().map(|hour| (hour.hour, hour.polls, hour.failures, hour.ready_share())).collect();
        assert_eq!(told, [(hours(0), 60, 2, Some(0.5)), (hours(2), 10, 0, Some(1.0))]);
        let (p50, p99) = (one[0].latencies.quantile(0.5).unwrap(), one[0].latencies.quantile(0.999).unwrap());
        assert!(p50 > Duration::from_millis(10) && p50 <= Duration::from_millis(20), "{p50:?}");
        assert!(p99 > Duration::from_secs(2) && p99 <= Duration::from_secs(4), "{p99:?}");
        let all = store.hours(None, hours(0), hours(1)).await.unwrap();
        assert_eq!((all.len(), all[0].hosts, all[0].polls, all[0].failures, all[0].boots), (1, 2, 100, 22, 2));
        assert_eq!((all[0].ready_share(), all[0].latencies.count()), (Some(0.25), 100));
        let long = store.hours(None, hours(0), hours(24 * 32)).await;
        assert!(matches!(long, Err(HistoryError::Ask(AskProblem::LongWindow { max_days: 31 }))), "{long:?}");
        assert!(store.hours(Some(&name("h-0")), hours(0), hours(24 * 366)).await.is_ok());
    }

    async fn events_are_followed_without_a_gap_and_without_a_repeat(test) {
        let (store, db) = (a_store(&test).await, test.database());
        let noon = at("2026-03-01T12:00:00Z");
        hosts(db, 3, noon).await;
        let rows: Vec<_> = (0..25).map(|n| event(1 + n % 3, noon, &format!("{{\"n\": {n}}}"))).collect();
        insert(db, EVENTS, &rows).await;
        let read_all = async |host: Option<HostName>| {
            let (mut after, mut seen) = (0, Vec::new());
            loop {
                let page = store.events_since(after, host.as_ref(), 4, noon).await.unwrap();
                assert!(page.events.len() <= 4);
                seen.extend(page.events.iter().map(|event| event.payload.as_ref().unwrap()["n"].as_i64().unwrap()));
                after = page.next;
                if !page.more {
                    return (after, seen);
                }
            }
        };
        let (last, seen) = read_all(None).await;
        assert_eq!(seen, (0..25).collect::<Vec<_>>());
        let nothing_new = store.events_since(last, None, 100, noon).await.unwrap();
        assert_eq!((nothing_new.events.len(), nothing_new.next, nothing_new.more), (0, last, false));
        assert_eq!(read_all(Some(name("h-1"))).await.1, (0..25).filter(|n| n % 3 == 1).collect::<Vec<_>>());
        assert_eq!(read_all(Some(name("h-7"))).await.1, Vec::<i64>::new());
        assert_eq!(store.newest_event(None).await.unwrap(), last);
        let of_host = store.newest_event(Some(&name("h-1"))).await.unwrap();
        assert_eq!(of_host, read_all(Some(name("h-1"))).await.0);
        assert_eq!(store.newest_event(Some(&name("h-7"))).await.unwrap(), 0);
    }

    async fn an_event_behind_an_id_that_may_still_come_is_held_back_for_a_while(test) {
        let (store, db) = (a_store(&test).await, test.database());
        let noon: DateTime<Utc> = at("2026-03-01T12:00:00Z");
        hosts(db, 1, noon).await;
        let rows: Vec<_> = (0..4).map(|n| event(1, noon, &n.to_string())).collect();
        insert(db, EVENTS, &rows).await;
        // As if the writer of the third had not committed yet.
        let third = "DELETE FROM lab_host_events WHERE id = (SELECT id FROM (SELECT MAX(id) - 1 AS id FROM lab_host_events) x)";
        db.connection().execute_unprepared(third).await.unwrap();
        let at_once = store.events_since(0, None, 100, noon + TimeDelta::seconds(1)).await.unwrap();
        assert_eq!((at_once.events.len(), at_once.more), (2, false));
        let later = store.events_since(at_once.next, None, 100, noon + TimeDelta::seconds(31)).await.unwrap();
        assert_eq!(later.events.len(), 1);
        let of_host = store.events_since(0, Some(&name("h-0")), 100, noon).await.unwrap();
        assert_eq!(of_host.events.len(), 3, "of one host they are seen in order");
    }
}
