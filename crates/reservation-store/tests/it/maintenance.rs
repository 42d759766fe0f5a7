//! Hosts in maintenance, on real databases.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use reservation_engine::{Maintenance, Store as _, StoreError};
use reservation_store::{NewMaintenance, ReservationStore};
use store_support::each_backend;

use crate::{a_store, count, host, now};

fn new(reason: &str, until: Option<DateTime<Utc>>) -> NewMaintenance {
    NewMaintenance {
        reason: reason.to_owned(),
        owner: "ana".to_owned(),
        until,
    }
}

fn later(minutes: i64) -> DateTime<Utc> {
    now() + TimeDelta::minutes(minutes)
}

async fn hosts(store: &ReservationStore, minutes: i64) -> HashMap<String, Maintenance> {
    let found = store.maintenance(later(minutes)).await.unwrap();
    found
        .into_iter()
        .map(|(host, one)| (host.as_str().to_owned(), one))
        .collect()
}

each_backend! {
    async fn a_host_is_in_maintenance_until_it_is_ended_or_ends_by_itself(test) {
        let store = a_store(&test).await;
        assert!(hosts(&store, 0).await.is_empty());
        let stored = store.put_maintenance(&host("Lab-WS-01"), &new("nouveau disque é", None), now()).await.unwrap();
        let expected = Maintenance {
            reason: "nouveau disque é".to_owned(),
            owner: "ana".to_owned(),
            since: now(),
            until: None,
        };
        assert_eq!(stored, expected);
        store.put_maintenance(&host("b"), &new("arm", Some(later(10))), now()).await.unwrap();
        let seen = hosts(&store, 9).await;
        assert_eq!(seen.len(), 2);
        assert_eq!(seen["Lab-WS-01"], expected);
        assert_eq!(seen["b"].until, Some(later(10)));
        assert_eq!(hosts(&store, 10).await.len(), 1, "over by itself");
        assert!(!store.end_maintenance(&host("b"), later(10)).await.unwrap());
        assert!(store.end_maintenance(&host("LAB-ws-01"), later(10)).await.unwrap());
        assert!(!store.end_maintenance(&host("LAB-ws-01"), later(10)).await.unwrap());
        assert!(hosts(&store, 10).await.is_empty());
    }

    async fn a_change_keeps_since_when_and_one_that_was_over_begins_anew(test) {
        let store = a_store(&test).await;
        let ws = host("ws");
        store.put_maintenance(&ws, &new("disk", Some(later(10))), now()).await.unwrap();
        let changed = store.put_maintenance(&ws, &new("disk and fan", Some(later(20))), later(5)).await.unwrap();
        assert_eq!((changed.reason.as_str(), changed.since, changed.until), ("disk and fan", now(), Some(later(20))));
        let again = store.put_maintenance(&ws, &new("disk and fan", Some(later(20))), later(5)).await.unwrap();
        assert_eq!(again, changed);
        let anew = store.put_maintenance(&ws, &new("fan", None), later(20)).await.unwrap();
        assert_eq!((anew.since, anew.until), (later(20), None));
        assert_eq!(count(test.database(), "SELECT COUNT(*) FROM ops_maintenance").await, 1);
    }

    async fn many_who_take_one_host_at_once_agree_on_since_when(test) {
        let store = a_store(&test).await;
        let mut askers = Vec::new();
        for number in 0..8 {
            let store = ReservationStore::new(test.reopen().await);
            askers.push(tokio::spawn(async move {
                store.put_maintenance(&host("ws"), &new(&format!("reason {number}"), None), later(number)).await
            }));
        }
        for asker in askers {
            asker.await.unwrap().unwrap();
        }
        let seen = hosts(&store, 60).await;
        assert!(seen["ws"].reason.starts_with("reason "));
        assert_eq!(count(test.database(), "SELECT COUNT(*) FROM ops_maintenance").await, 1);
    }

    async fn what_does_not_fit_is_refused_and_nothing_is_cut(test) {
        let store = a_store(&test).await;
        let long = new(&"é".repeat(257), None);
        let refused = store.put_maintenance(&host("ws"), &long, now()).await;
        assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
        assert!(hosts(&store, 0).await.is_empty());
        store.put_maintenance(&host("ws"), &new(&"é".repeat(256), None), now()).await.unwrap();
    }
}
