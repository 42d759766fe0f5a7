//! Of each silence somebody is told once, and of its end only after that.

use futures_util::future::join_all;
use notifications::{NotificationSettings, Outbox, Silence};
use store_support::{Database, each_backend};

use crate::{count, host, migrated, now, outbox, run};

fn silent(names: &[&str]) -> Vec<Silence> {
    let silence = |name: &&str| Silence {
        host: host(name),
        reason: "it reported 9 min ago".to_owned(),
    };
    names.iter().map(silence).collect()
}

async fn told(db: &Database, kind: &str) -> i64 {
    count(
        db,
        &format!("SELECT COUNT(*) FROM ops_notices WHERE kind = '{kind}'"),
    )
    .await
}

async fn alone(db: &Database) -> Outbox {
    outbox(db, &NotificationSettings::default())
}

each_backend! {
    async fn of_a_silence_it_is_told_once_and_of_its_end_once_and_only_after_it(test) {
        let db = migrated(&test).await;
        let outbox = alone(db).await;
        assert_eq!(outbox.tell_back(&[host("lab-ws-01")], now()).await.unwrap(), 0);
        assert_eq!(outbox.tell_silent(&silent(&["LAB-WS-01", "lab-ws-02"]), now()).await.unwrap(), 2);
        assert_eq!(outbox.tell_silent(&silent(&["lab-ws-01", "lab-ws-03"]), now()).await.unwrap(), 1);
        let mut known: Vec<_> = outbox.silences().await.unwrap().into_iter().collect();
        known.sort();
        assert_eq!(known, ["lab-ws-01", "lab-ws-02", "lab-ws-03"]);
        let back = [host("lab-ws-01"), host("lab-ws-04")];
        assert_eq!(outbox.tell_back(&back, now()).await.unwrap(), 1);
        assert_eq!(outbox.tell_back(&back, now()).await.unwrap(), 0);
        // A host that answers whoever asked first closes it as well.
        assert!(outbox.host_answers(&host("lab-ws-02"), now()).await.unwrap());
        assert_eq!(outbox.tell_back(&[host("lab-ws-02")], now()).await.unwrap(), 0);
        assert_eq!((told(db, "host_silent").await, told(db, "host_back").await), (3, 2));
        assert_eq!(outbox.tell_silent(&silent(&["lab-ws-01"]), now()).await.unwrap(), 1, "another silence");
    }

    async fn many_hosts_at_once_are_one_notice_that_lists_them(test) {
        let db = migrated(&test).await;
        let outbox = alone(db).await;
        let names: Vec<String> = (0..150).map(|number| format!("ws-{number:03}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(outbox.tell_silent(&silent(&names), now()).await.unwrap(), 1);
        assert_eq!(outbox.silences().await.unwrap().len(), 150);
        let stored = outbox.page(None, None, 1).await.unwrap().remove(0);
        assert_eq!((stored.kind.as_str(), stored.host.as_deref()), ("host_silent", None));
        assert_eq!(stored.body["details"]["count"], 150);
        assert_eq!(stored.body["details"]["hosts"].as_array().unwrap().len(), 100);
        let back: Vec<_> = names.iter().map(|name| host(name)).collect();
        assert_eq!(outbox.tell_back(&back, now()).await.unwrap(), 1);
        assert_eq!(outbox.silences().await.unwrap().len(), 0);
    }

    async fn several_who_see_the_same_silences_tell_of_each_once(test) {
        let db = migrated(&test).await;
        let names = ["lab-ws-01", "lab-ws-02", "lab-ws-03"];
        let mut tellers = Vec::new();
        for _ in 0..4 {
            tellers.push(outbox(&test.reopen().await, &NotificationSettings::default()));
        }
        let silent = silent(&names);
        let all = join_all(tellers.iter().map(|outbox| outbox.tell_silent(&silent, now()))).await;
        assert_eq!(all.into_iter().map(Result::unwrap).sum::<u64>(), 3);
        let back = names.map(host);
        let all = join_all(tellers.iter().map(|outbox| outbox.tell_back(&back, now()))).await;
        assert_eq!(all.into_iter().map(Result::unwrap).sum::<u64>(), 3);
        assert_eq!((told(db, "host_silent").await, told(db, "host_back").await), (3, 3));
    }

    async fn an_old_silence_is_forgotten_and_told_once_more(test) {
        let db = migrated(&test).await;
        let outbox = alone(db).await;
        outbox.tell_silent(&silent(&["lab-ws-01"]), now()).await.unwrap();
        run(db, "UPDATE ops_silences SET told_at = told_at - 700000000").await;
        outbox.prune(std::time::Duration::from_secs(7 * 86_400), 100).await.unwrap();
        assert_eq!(outbox.tell_silent(&silent(&["lab-ws-01"]), now()).await.unwrap(), 1);
    }
}
