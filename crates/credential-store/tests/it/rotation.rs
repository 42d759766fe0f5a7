//! Keys that are changed while others read and write.

use super::*;

async fn key_ids(store: &CredentialStore) -> Vec<String> {
    let listed = store.list(None, 500).await.unwrap();
    listed.into_iter().map(|row| row.key_id).collect()
}

each_backend! {
    async fn every_row_is_under_the_first_key_afterwards_and_again_is_nothing(test) {
        let old = a_store(&test, &[("old", 1)]).await;
        for at in 0..150 {
            let password = format!("password-{at}");
            old.put(&name(&format!("s{at:03}")), &credential(&password), "admin", false).await.unwrap();
        }
        let before = old.list(None, 500).await.unwrap();
        let new = CredentialStore::new(test.database().clone(), Some(ring(&[("new", 2), ("old", 1)])));
        let done = new.rotate().await.unwrap();
        assert_eq!((done.rotated, done.overtaken, done.unreadable.len()), (150, 0, 0));
        assert!(key_ids(&new).await.iter().all(|id| id == "new"));
        assert_eq!(new.rotate().await.unwrap().rotated, 0);
        let only_new = CredentialStore::new(test.database().clone(), Some(ring(&[("new", 2)])));
        for at in 0..150 {
            let found = password(&only_new, &format!("s{at:03}")).await;
            assert_eq!(found, Some(format!("password-{at}")));
        }
        let after = only_new.list(None, 500).await.unwrap();
        assert!(before.iter().zip(&after).all(|(a, b)| a.updated_at == b.updated_at), "the content is the same");
    }
}

each_backend! {
    async fn rows_that_no_key_opens_stay_and_are_named(test) {
        let old = a_store(&test, &[("lost", 9)]).await;
        old.put(&name("gone"), &credential("p"), "admin", false).await.unwrap();
        let mid = CredentialStore::new(test.database().clone(), Some(ring(&[("old", 1)])));
        mid.put(&name("kept"), &credential("p"), "admin", false).await.unwrap();
        let new = CredentialStore::new(test.database().clone(), Some(ring(&[("new", 2), ("old", 1)])));
        let done = new.rotate().await.unwrap();
        assert_eq!(done.rotated, 1);
        let lost = Unreadable::UnknownKey { key_id: "lost".into() };
        assert_eq!(done.unreadable, [(name("gone"), lost)]);
        assert_eq!(password(&old, "gone").await.as_deref(), Some("p"));
    }
}

each_backend! {
    async fn two_rotations_and_a_writer_at_once_lose_nothing(test) {
        let keys = [("new", 2), ("old", 1)];
        let old = a_store(&test, &[("old", 1)]).await;
        for at in 0..60 {
            old.put(&name(&format!("s{at:02}")), &credential("before"), "admin", false).await.unwrap();
        }
        let rotating = |db| tokio::spawn(async move {
            CredentialStore::new(db, Some(ring(&keys))).rotate().await.unwrap()
        });
        let (first, second) = (rotating(test.reopen().await), rotating(test.reopen().await));
        // One that was not restarted yet writes under the older key.
        for at in (0..60).step_by(7) {
            old.put(&name(&format!("s{at:02}")), &credential("after"), "admin", true).await.unwrap();
        }
        let (first, second) = (first.await.unwrap(), second.await.unwrap());
        assert!(first.unreadable.is_empty() && second.unreadable.is_empty());
        let new = CredentialStore::new(test.database().clone(), Some(ring(&keys)));
        new.rotate().await.unwrap();
        assert!(key_ids(&new).await.iter().all(|id| id == "new"));
        for at in 0..60 {
            let expected = if at % 7 == 0 { "after" } else { "before" };
            assert_eq!(password(&new, &format!("s{at:02}")).await.as_deref(), Some(expected), "{at}");
        }
    }
}
