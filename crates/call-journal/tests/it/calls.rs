use std::time::Duration;

use call_journal::{CallEnd, CallId, CallState, MAX_ANSWER, NewCall, Opened};
use serde_json::json;
use store_support::each_backend;

use crate::{LEASE, a_call, a_journal, count, minutes_later, noon, success};

each_backend! {
    async fn a_call_is_kept_from_its_first_word_to_its_last(test) {
        let journal = a_journal(&test).await;
        let call = a_call();
        assert_eq!(journal.open(&call, LEASE).await.unwrap(), Opened::New);
        let queued = journal.find(call.id, noon()).await.unwrap().unwrap();
        assert_eq!((queued.state, queued.started_at, queued.answer), (CallState::Queued, None, None));
        assert_eq!(queued.created_at, noon());
        assert_eq!(queued.host.as_deref(), Some("lab-ws-01"));
        assert!(journal.begin(call.id, &call.worker, LEASE, minutes_later(1)).await.unwrap());
        assert!(!journal.begin(call.id, &call.worker, LEASE, minutes_later(1)).await.unwrap(), "it begins once");
        assert!(journal.finish(call.id, &call.worker, &success(), minutes_later(2)).await.unwrap());
        assert!(!journal.finish(call.id, &call.worker, &success(), minutes_later(3)).await.unwrap(), "it ends once");
        let ended = journal.find(call.id, noon()).await.unwrap().unwrap();
        assert_eq!(ended.state, CallState::Succeeded);
        assert_eq!(ended.started_at, Some(minutes_later(1)));
        assert_eq!(ended.ended_at, Some(minutes_later(2)));
        let answer = ended.answer.unwrap();
        assert_eq!((answer.status, answer.body), (200, json!({"success": true})));
    }

    async fn a_call_whose_lease_is_over_was_interrupted_and_its_runner_may_still_say_how_it_ended(test) {
        let journal = a_journal(&test).await;
        let call = NewCall { begun: true, ..a_call() };
        journal.open(&call, Duration::ZERO).await.unwrap();
        let found = journal.find(call.id, minutes_later(5)).await.unwrap().unwrap();
        assert_eq!((found.state, found.ended_at), (CallState::Interrupted, Some(minutes_later(5))));
        assert!(!journal.reopen(call.id, "api@b", LEASE).await.unwrap(), "it had begun");
        assert!(journal.finish(call.id, &call.worker, &success(), minutes_later(6)).await.unwrap());
        let found = journal.find(call.id, noon()).await.unwrap().unwrap();
        assert_eq!(found.state, CallState::Succeeded);
    }

    async fn leases_are_renewed_and_only_those_left_behind_are_marked(test) {
        let journal = a_journal(&test).await;
        let (kept, lost, over) = (a_call(), a_call(), a_call());
        for call in [&kept, &lost, &over] {
            journal.open(call, Duration::ZERO).await.unwrap();
        }
        journal.finish(over.id, &over.worker, &success(), noon()).await.unwrap();
        journal.renew(&[kept.id], &kept.worker, LEASE).await.unwrap();
        assert_eq!(journal.interrupt_lost(minutes_later(1)).await.unwrap(), 1);
        for (call, state) in [
            (&kept, CallState::Queued),
            (&lost, CallState::Interrupted),
            (&over, CallState::Succeeded),
        ] {
            assert_eq!(journal.find(call.id, noon()).await.unwrap().unwrap().state, state);
        }
        journal.interrupt(&[kept.id, over.id], minutes_later(1)).await.unwrap();
        assert_eq!(journal.find(kept.id, noon()).await.unwrap().unwrap().state, CallState::Interrupted);
        assert_eq!(journal.find(over.id, noon()).await.unwrap().unwrap().state, CallState::Succeeded);
    }

    async fn a_runner_that_was_thought_gone_and_lives_is_running_again(test) {
        let journal = a_journal(&test).await;
        let (alive, over, foreign) = (a_call(), a_call(), NewCall { worker: "api@other".to_owned(), ..a_call() });
        for call in [&alive, &over, &foreign] {
            journal.open(call, LEASE).await.unwrap();
            assert!(journal.begin(call.id, &call.worker, Duration::ZERO, noon()).await.unwrap());
        }
        assert_eq!(journal.interrupt_lost(minutes_later(1)).await.unwrap(), 3);
        let cut_off = CallEnd::new(CallState::Interrupted, 503, json!({}));
        assert!(journal.finish(over.id, &over.worker, &cut_off, minutes_later(1)).await.unwrap());
        journal.renew(&[alive.id, over.id, foreign.id], &alive.worker, LEASE).await.unwrap();
        for (call, state, ended) in [
            (&alive, CallState::Running, None),
            (&over, CallState::Interrupted, Some(minutes_later(1))),
            (&foreign, CallState::Interrupted, Some(minutes_later(1))),
        ] {
            let found = journal.find(call.id, minutes_later(2)).await.unwrap().unwrap();
            assert_eq!((found.state, found.ended_at), (state, ended));
        }
    }

    async fn a_call_that_was_taken_over_is_begun_renewed_and_ended_by_its_taker_only(test) {
        let journal = a_journal(&test).await;
        let call = a_call();
        journal.open(&call, Duration::ZERO).await.unwrap();
        assert!(journal.reopen(call.id, "api@b", LEASE).await.unwrap());
        assert!(!journal.begin(call.id, &call.worker, LEASE, noon()).await.unwrap(), "it is not ours any more");
        assert!(!journal.finish(call.id, &call.worker, &success(), noon()).await.unwrap());
        assert!(journal.begin(call.id, "api@b", Duration::ZERO, noon()).await.unwrap());
        journal.renew(&[call.id], &call.worker, LEASE).await.unwrap();
        assert_eq!(journal.interrupt_lost(noon()).await.unwrap(), 1, "nobody renews for another");
        assert!(journal.finish(call.id, "api@b", &success(), noon()).await.unwrap());
    }

    async fn what_never_began_is_taken_over_by_one_only(test) {
        let journal = a_journal(&test).await;
        let call = a_call();
        journal.open(&call, LEASE).await.unwrap();
        assert!(!journal.reopen(call.id, "api@b", LEASE).await.unwrap(), "its runner lives");
        journal.interrupt(&[call.id], noon()).await.unwrap();
        assert!(journal.reopen(call.id, "api@b", LEASE).await.unwrap());
        assert!(!journal.reopen(call.id, "api@c", LEASE).await.unwrap());
        let found = journal.find(call.id, noon()).await.unwrap().unwrap();
        assert_eq!((found.state, found.ended_at, found.worker.as_str()), (CallState::Queued, None, "api@b"));
    }

    async fn a_call_that_could_not_be_written_down_first_is_written_down_afterwards_once(test) {
        let journal = a_journal(&test).await;
        let call = NewCall { begun: true, ..a_call() };
        journal.record(&call, &success(), minutes_later(1)).await.unwrap();
        journal.record(&call, &success(), minutes_later(1)).await.unwrap();
        let other = NewCall { begun: true, ..a_call() };
        journal.open(&other, LEASE).await.unwrap();
        journal.record(&other, &success(), minutes_later(1)).await.unwrap();
        for id in [call.id, other.id] {
            let found = journal.find(id, noon()).await.unwrap().unwrap();
            assert_eq!((found.state, found.ended_at), (CallState::Succeeded, Some(minutes_later(1))));
        }
        assert_eq!(count(test.database(), "ops_calls").await, 2);
        assert_eq!(journal.find(CallId::random(), noon()).await.unwrap(), None);
    }

    async fn long_names_and_long_answers_are_cut_to_fit(test) {
        let journal = a_journal(&test).await;
        let call = NewCall {
            host: Some("ä".repeat(300)),
            caller: "c".repeat(300),
            worker: "w".repeat(300),
            ..a_call()
        };
        journal.open(&call, LEASE).await.unwrap();
        let long = CallEnd::new(CallState::Failed, 502, json!({"stdout": "x".repeat(3 * MAX_ANSWER)}));
        assert!(journal.finish(call.id, &call.worker, &long, noon()).await.unwrap());
        let found = journal.find(call.id, noon()).await.unwrap().unwrap();
        assert_eq!(found.host.unwrap(), "ä".repeat(128));
        let body = found.answer.unwrap().body;
        assert!(body["stdout"].as_str().unwrap().ends_with("bytes cut]"));
    }
}
