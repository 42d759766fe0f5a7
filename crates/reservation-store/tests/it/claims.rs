use std::time::Duration;

use reservation_engine::{FencingToken, Store as _, StoreError};
use reservation_store::ReservationStore;
use store_support::each_backend;

use crate::{LEASE, a_claim, a_store, host, run};

/// Ends every lease as if its time were over, by the database's clock.
async fn let_leases_run_out(test: &store_support::test_support::TestDatabase) {
    let db = test.database();
    run(
        db,
        &format!(
            "UPDATE ops_leases SET lease_until = {} - 1",
            db.backend().now_ms()
        ),
    )
    .await;
}

each_backend! {
    async fn of_sixteen_contenders_one_wins(test) {
        a_store(&test).await;
        let mut contenders = Vec::new();
        for process in 0..4 {
            let store = ReservationStore::new(test.reopen().await);
            for flow in 0..4 {
                let store = store.clone();
                contenders.push(tokio::spawn(async move {
                    store
                        .claim_host(&host("lab-ws-01"), &format!("worker-{process}:{flow}"), LEASE)
                        .await
                }));
            }
        }
        let mut won = Vec::new();
        for contender in contenders {
            won.extend(contender.await.unwrap().unwrap());
        }
        assert_eq!(won.len(), 1);
        assert_eq!(won[0].token, FencingToken(1));
    }

    async fn whoever_lost_the_answer_finds_his_own_claim_and_nobody_elses(test) {
        let store = a_store(&test).await;
        let ws = host("ws");
        assert_eq!(store.find_own_claim(&ws, "worker-a").await.unwrap(), None);
        let claim = a_claim(&store, "ws").await;
        assert_eq!(store.find_own_claim(&host("WS"), "worker-a").await.unwrap(), Some(claim.clone()));
        assert_eq!(store.find_own_claim(&ws, "worker-b").await.unwrap(), None);
        assert_eq!(store.claim_host(&ws, "worker-a", LEASE).await.unwrap(), None, "it is not given twice");
        let_leases_run_out(&test).await;
        assert_eq!(store.find_own_claim(&ws, "worker-a").await.unwrap(), None);
        let next = store.claim_host(&ws, "worker-a", LEASE).await.unwrap().unwrap();
        assert_eq!(store.find_own_claim(&ws, "worker-a").await.unwrap(), Some(next.clone()));
        store.give_back(&next).await.unwrap();
        assert_eq!(store.find_own_claim(&ws, "worker-a").await.unwrap(), None);
    }

    async fn a_host_is_taken_whatever_the_case_of_its_name(test) {
        let store = a_store(&test).await;
        a_claim(&store, "Lab-WS-01").await;
        assert!(
            store
                .claim_host(&host("LAB-ws-01"), "worker-b", LEASE)
                .await
                .unwrap()
                .is_none()
        );
        assert!(
            store
                .claim_host(&host("lab-ws-02"), "worker-b", LEASE)
                .await
                .unwrap()
                .is_some()
        );
    }

    async fn the_same_holder_gets_none_while_it_holds(test) {
        let store = a_store(&test).await;
        let claim = a_claim(&store, "lab-ws-01").await;
        assert!(
            store
                .claim_host(&claim.host, &claim.holder, LEASE)
                .await
                .unwrap()
                .is_none()
        );
    }

    async fn a_claim_that_was_given_back_is_free_and_the_next_token_is_greater(test) {
        let store = a_store(&test).await;
        let first = a_claim(&store, "lab-ws-01").await;
        store.give_back(&first).await.unwrap();
        assert_eq!(store.find_claim(&first.host).await.unwrap(), None);
        let second = a_claim(&store, "lab-ws-01").await;
        assert!(second.token > first.token);
    }

    async fn a_claim_runs_out_by_the_databases_clock_and_can_then_be_taken(test) {
        let store = a_store(&test).await;
        let lost = a_claim(&store, "lab-ws-01").await;
        let_leases_run_out(&test).await;
        assert_eq!(store.find_claim(&lost.host).await.unwrap(), None);
        let taken = store
            .claim_host(&lost.host, "worker-b", LEASE)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(taken.token, FencingToken(lost.token.0 + 1));
    }

    async fn a_short_lease_ends_by_itself(test) {
        let store = a_store(&test).await;
        let lease = Duration::from_millis(300);
        let first = store
            .claim_host(&host("lab-ws-01"), "worker-a", lease)
            .await
            .unwrap()
            .unwrap();
        let mut second = None;
        for _ in 0..600 {
            second = store.claim_host(&first.host, "worker-b", LEASE).await.unwrap();
            if second.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        assert_eq!(second.unwrap().token, FencingToken(2));
    }

    async fn renewing_prolongs_a_claim_that_is_ours(test) {
        let store = a_store(&test).await;
        let claim = a_claim(&store, "lab-ws-01").await;
        assert!(store.renew_claim(&claim, 2 * LEASE).await.unwrap());
        let info = store.find_claim(&claim.host).await.unwrap().unwrap();
        assert_eq!(info.holder, "worker-a");
        assert!(
            info.left > LEASE && info.left <= 2 * LEASE,
            "{:?}",
            info.left
        );
    }

    async fn renewing_says_false_once_the_claim_is_lost(test) {
        let store = a_store(&test).await;
        let claim = a_claim(&store, "lab-ws-01").await;
        let_leases_run_out(&test).await;
        assert!(
            !store.renew_claim(&claim, LEASE).await.unwrap(),
            "its time is over, though nobody took it"
        );
        let taken = store
            .claim_host(&claim.host, "worker-b", LEASE)
            .await
            .unwrap()
            .unwrap();
        assert!(!store.renew_claim(&claim, LEASE).await.unwrap());
        assert!(store.renew_claim(&taken, LEASE).await.unwrap());
    }

    async fn giving_back_a_lost_claim_leaves_the_new_holder_alone(test) {
        let store = a_store(&test).await;
        let lost = a_claim(&store, "lab-ws-01").await;
        let_leases_run_out(&test).await;
        // The same holder took it again in another flow: only the token tells them apart.
        let again = a_claim(&store, "lab-ws-01").await;
        store.give_back(&lost).await.unwrap();
        assert!(store.renew_claim(&again, LEASE).await.unwrap());
    }

    async fn names_of_the_full_width_can_be_claimed_and_longer_holders_are_refused(test) {
        let store = a_store(&test).await;
        let wide = host(&"é".repeat(128));
        assert!(
            store
                .claim_host(&wide, &"h".repeat(190), LEASE)
                .await
                .unwrap()
                .is_some()
        );
        let refused = store.claim_host(&host("other"), &"h".repeat(191), LEASE).await;
        assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
    }

    async fn a_database_that_is_gone_is_not_available(test) {
        let store = a_store(&test).await;
        test.database().clone().close().await;
        let gone = store.claim_host(&host("lab-ws-01"), "worker-a", LEASE).await;
        assert!(matches!(gone, Err(StoreError::Unavailable(_))), "{gone:?}");
    }

    async fn claims_on_many_hosts_do_not_disturb_each_other(test) {
        let store = a_store(&test).await;
        let claims: Vec<_> = (0..40)
            .map(|n| {
                let store = store.clone();
                tokio::spawn(async move {
                    store
                        .claim_host(&host(&format!("ws-{n}")), "worker-a", LEASE)
                        .await
                })
            })
            .collect();
        for claim in claims {
            assert!(claim.await.unwrap().unwrap().is_some());
        }
    }
}
