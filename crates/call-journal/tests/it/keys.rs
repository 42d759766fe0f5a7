use call_journal::{CallEnd, CallId, CallJournal, CallState, NewCall, Opened};
use chrono::TimeDelta;
use futures_util::future::join_all;
use sea_orm::ConnectionTrait as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use store_support::each_backend;

use crate::{LEASE, a_journal, count, keyed, keyed_journal, noon, success};

async fn known(journal: &CallJournal, call: &NewCall) -> CallId {
    match journal.open(call, LEASE).await.unwrap() {
        Opened::Known(known) => known.id,
        other => panic!("{other:?}"),
    }
}

each_backend! {
    async fn twenty_calls_with_one_key_through_two_pools_are_one_call(test) {
        let journal = a_journal(&test).await;
        let other = keyed_journal(test.reopen().await);
        let opening = (0..20).map(|n| {
            let journal = if n % 2 == 0 { journal.clone() } else { other.clone() };
            async move { journal.open(&keyed("one"), LEASE).await.unwrap() }
        });
        let opened = join_all(opening).await;
        let new = opened.iter().filter(|opened| **opened == Opened::New).count();
        assert_eq!(new, 1, "{opened:?}");
        let ids: std::collections::HashSet<_> = opened
            .iter()
            .filter_map(|opened| match opened {
                Opened::Known(known) => Some(known.id),
                _ => None,
            })
            .collect();
        assert_eq!(ids.len(), 1);
        assert_eq!(count(test.database(), "ops_calls").await, 1);
    }

    async fn a_key_is_the_callers_own_and_stands_for_one_request(test) {
        let journal = a_journal(&test).await;
        let call = keyed("k");
        assert_eq!(journal.open(&call, LEASE).await.unwrap(), Opened::New);
        assert_eq!(known(&journal, &keyed("k")).await, call.id);
        let different = NewCall { request: "{}".to_owned(), ..keyed("k") };
        assert_eq!(journal.open(&different, LEASE).await.unwrap(), Opened::Mismatch(call.id));
        let somebody_else = NewCall { caller: "teacher".to_owned(), ..keyed("k") };
        assert_eq!(journal.open(&somebody_else, LEASE).await.unwrap(), Opened::New);
        let upper_case = keyed("K");
        assert_eq!(journal.open(&upper_case, LEASE).await.unwrap(), Opened::New);
    }

    async fn a_password_of_a_request_cannot_be_found_by_its_digest(test) {
        let journal = a_journal(&test).await;
        let digest = async |id: CallId| {
            let sql = "SELECT digest FROM ops_calls WHERE id = ?";
            let db = test.database();
            let row = db.connection().query_one_raw(db.statement(sql, [id.to_string().into()])).await;
            row.unwrap().unwrap().try_get_by_index::<String>(0).unwrap()
        };
        let (one, other) = (keyed("one"), keyed("other"));
        for call in [&one, &other] {
            journal.open(call, LEASE).await.unwrap();
        }
        let guessed = Sha256::digest(format!("{}\0{}", one.id, one.request));
        let guessed: String = guessed.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_ne!(digest(one.id).await, guessed);
        assert_ne!(digest(one.id).await, digest(other.id).await, "equal requests do not show");
        // Nor does whoever has the rows and the program, but not the secret.
        let guesser = CallJournal::new(test.database().clone()).keyed_by(&"another secret".into());
        assert_eq!(guesser.open(&keyed("one"), LEASE).await.unwrap(), Opened::Mismatch(one.id));

        let bare = CallJournal::new(test.database().clone());
        let (plain, secret) = (keyed("bare"), NewCall { request: "hunter2".to_owned(), ..keyed("bare") });
        assert_eq!(bare.open(&plain, LEASE).await.unwrap(), Opened::New);
        assert_eq!(known(&bare, &secret).await, plain.id, "nothing of the request is in the digest");
        let elsewhere = NewCall { host: Some("lab-ws-02".to_owned()), ..keyed("bare") };
        assert_eq!(bare.open(&elsewhere, LEASE).await.unwrap(), Opened::Mismatch(plain.id));
    }

    async fn a_key_is_free_again_after_a_day(test) {
        let journal = a_journal(&test).await;
        let call = keyed("k");
        journal.open(&call, LEASE).await.unwrap();
        journal.finish(call.id, &call.worker, &success(), noon()).await.unwrap();
        let late = |hours| NewCall { at: noon() + TimeDelta::hours(hours), ..keyed("k") };
        assert_eq!(known(&journal, &late(23)).await, call.id);
        let opening = (0..8).map(|_| {
            let (journal, call) = (journal.clone(), late(25));
            async move { journal.open(&call, LEASE).await.unwrap() }
        });
        let opened = join_all(opening).await;
        assert_eq!(opened.iter().filter(|opened| **opened == Opened::New).count(), 1, "{opened:?}");
        assert!(journal.find(call.id, noon()).await.unwrap().is_some(), "the older call stays known by its id");
    }

    async fn a_call_that_did_nothing_gives_its_key_back(test) {
        let journal = a_journal(&test).await;
        let call = keyed("k");
        journal.open(&call, LEASE).await.unwrap();
        let busy = CallEnd {
            frees_key: true,
            ..CallEnd::new(CallState::Failed, 409, json!({"code": "host_busy"}))
        };
        journal.finish(call.id, &call.worker, &busy, noon()).await.unwrap();
        assert_eq!(journal.open(&keyed("k"), LEASE).await.unwrap(), Opened::New);
    }
}
