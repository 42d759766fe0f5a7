use credential_store::{Credential, KeyRing};
use lab_model::CredentialRef;
use store_support::test_support::{TestDatabase, on_sqlite};

use super::*;

/// 32 bytes of one letter each.
const KEY_A: &str = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=";
const KEY_B: &str = "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=";

fn store(test: &TestDatabase, keys: Option<String>) -> CredentialStore {
    let ring = keys.map(|keys| KeyRing::parse(&keys.into()).unwrap());
    CredentialStore::new(test.database().clone(), ring)
}

async fn put(store: &CredentialStore, name: &str) {
    let name = CredentialRef::parse(name).unwrap();
    let credential = Credential::new("svc", "s3cret".into()).unwrap();
    store.put(&name, &credential, "t", false).await.unwrap();
}

#[tokio::test]
async fn secrets_are_well_only_while_the_ring_opens_what_is_stored() {
    on_sqlite(|test| async move {
        migrations::run(test.database().connection()).await.unwrap();
        let a = store(&test, Some(format!("a:{KEY_A}")));
        assert!(secrets(&a).await.unwrap().ok, "nothing is stored");
        put(&a, "station-01").await;
        put(&a, "station-02").await;
        let good = secrets(&a).await.unwrap();
        assert!(good.ok, "{good:?}");
        assert_eq!(good.figures["unreadableKeys"], json!([]));

        for (keys, why) in [
            (format!("b:{KEY_B}"), "its key \"a\" is not in the ring"),
            (
                format!("a:{KEY_B}"),
                "it is sealed by another key of that id, or was altered",
            ),
        ] {
            let bad = secrets(&store(&test, Some(keys))).await.unwrap();
            assert_eq!(
                (bad.ok, bad.detail),
                (
                    false,
                    Some(format!(
                        "the stored credential station-01 cannot be read: {why} (OPS_SECRETS_KEY)"
                    ))
                )
            );
            assert_eq!(bad.figures["unreadableKeys"], json!(["a"]));
        }
        let keyless = secrets(&store(&test, None)).await.unwrap();
        assert!(!keyless.ok && keyless.detail.unwrap().contains("no key to read them"));

        // A key of which one row cannot be read is not hidden by another one that can.
        let b = store(&test, Some(format!("b:{KEY_B}")));
        put(&b, "robot").await;
        let half = secrets(&b).await.unwrap();
        assert_eq!((half.ok, &half.figures["unreadableKeys"]), (false, &json!(["a"])));
        let both = store(&test, Some(format!("b:{KEY_B}\na:{KEY_A}")));
        assert!(secrets(&both).await.unwrap().ok);
    })
    .await;
}
