//! Stored credentials on real databases.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

mod older;
mod rotation;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use credential_store::{Credential, CredentialError, CredentialStore, KeyRing, Unreadable, Written};
use lab_model::CredentialRef;
use sea_orm::ConnectionTrait as _;
use secrecy::ExposeSecret as _;
use store_support::Database;
use store_support::each_backend;
use store_support::test_support::TestDatabase;

/// A ring of keys made of one byte each.
fn ring(keys: &[(&str, u8)]) -> KeyRing {
    let lines = keys
        .iter()
        .map(|(id, byte)| format!("{id}:{}\n", BASE64_STANDARD.encode([*byte; 32])));
    KeyRing::parse(&lines.collect::<String>().into()).unwrap()
}

fn name(text: &str) -> CredentialRef {
    CredentialRef::parse(text).unwrap()
}

fn credential(password: &str) -> Credential {
    Credential::new("LabGatewaySvc", password.into()).unwrap()
}

async fn a_store(test: &TestDatabase, keys: &[(&str, u8)]) -> CredentialStore {
    migrations::run(test.database().connection()).await.unwrap();
    CredentialStore::new(test.database().clone(), Some(ring(keys)))
}

async fn password(store: &CredentialStore, of: &str) -> Option<String> {
    let found = store.find(&name(of)).await.unwrap()?;
    Some(found.password().expose_secret().to_owned())
}

async fn run(db: &Database, sql: &str) -> u64 {
    let done = db.connection().execute_unprepared(sql).await;
    done.unwrap().rows_affected()
}

each_backend! {
    async fn what_is_written_is_found_under_its_name_whatever_the_case(test) {
        let store = a_store(&test, &[("a", 1)]).await;
        let awkward = "Pä$$ 'w\"o\\rd`; --\u{1f511}";
        let written = store.put(&name("Station-01"), &credential(awkward), "admin", false).await.unwrap();
        assert_eq!(written, Written::Created);
        assert_eq!(password(&store, "STATION-01").await.as_deref(), Some(awkward));
        assert_eq!(password(&store, "station-02").await, None);
    }
}

each_backend! {
    async fn a_name_that_is_taken_is_only_overwritten_when_asked_to(test) {
        let store = a_store(&test, &[("a", 1)]).await;
        store.put(&name("x"), &credential("one"), "admin", false).await.unwrap();
        let refused = store.put(&name("x"), &credential("two"), "admin", false).await.unwrap_err();
        assert!(matches!(refused, CredentialError::Exists { .. }), "{refused}");
        assert_eq!(password(&store, "x").await.as_deref(), Some("one"));
        let written = store.put(&name("x"), &credential("two"), "other", true).await.unwrap();
        assert_eq!(written, Written::Overwritten);
        assert_eq!(password(&store, "x").await.as_deref(), Some("two"));
        let listed = store.list(None, 10).await.unwrap();
        assert_eq!((listed.len(), listed[0].updated_by.as_str()), (1, "other"));
        assert!(listed[0].updated_at >= listed[0].created_at);
    }
}

each_backend! {
    async fn the_list_goes_by_name_and_pages(test) {
        let store = a_store(&test, &[("a", 1)]).await;
        for at in [3, 1, 2] {
            store.put(&name(&format!("s{at}")), &credential("p"), "admin", false).await.unwrap();
        }
        let names = |listed: Vec<credential_store::StoredCredential>| {
            listed.into_iter().map(|row| row.reference.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(store.list(None, 2).await.unwrap()), ["s1", "s2"]);
        assert_eq!(names(store.list(Some(&name("s2")), 2).await.unwrap()), ["s3"]);
        assert_eq!(store.count().await.unwrap(), 3);
        assert!(store.remove(&name("s2")).await.unwrap());
        assert!(!store.remove(&name("s2")).await.unwrap());
        assert_eq!(password(&store, "s2").await, None);
    }
}

each_backend! {
    async fn a_row_that_was_copied_or_altered_does_not_open(test) {
        let store = a_store(&test, &[("a", 1)]).await;
        store.put(&name("mine"), &credential("Canary-7Qz"), "admin", false).await.unwrap();
        let db = test.database();
        run(db, "INSERT INTO ops_credentials SELECT 'theirs', format, key_id, nonce, ciphertext, created_at, \
                 updated_at, updated_by FROM ops_credentials WHERE ref = 'mine'").await;
        let refused = store.find(&name("theirs")).await.unwrap_err();
        assert!(
            matches!(&refused, CredentialError::Unreadable { why: Unreadable::NotAuthentic, .. }),
            "{refused}"
        );
        assert_eq!(password(&store, "mine").await.as_deref(), Some("Canary-7Qz"));
        run(db, "UPDATE ops_credentials SET ciphertext = nonce WHERE ref = 'mine'").await;
        let refused = store.find(&name("mine")).await.unwrap_err();
        assert!(!format!("{refused} {refused:?}").contains("Canary"));
        run(db, "UPDATE ops_credentials SET key_id = 'b' WHERE ref = 'mine'").await;
        let refused = store.find(&name("mine")).await.unwrap_err();
        assert!(
            matches!(&refused, CredentialError::Unreadable { why: Unreadable::UnknownKey { key_id }, .. } if key_id == "b"),
            "{refused}"
        );
    }
}

each_backend! {
    async fn without_a_key_rows_are_listed_and_removed_only(test) {
        let store = a_store(&test, &[("a", 1)]).await;
        store.put(&name("x"), &credential("p"), "admin", false).await.unwrap();
        let keyless = CredentialStore::new(test.database().clone(), None);
        assert_eq!(keyless.list(None, 10).await.unwrap().len(), 1);
        assert!(matches!(keyless.find(&name("x")).await, Err(CredentialError::NoKey)));
        let put = keyless.put(&name("y"), &credential("p"), "admin", false).await;
        assert!(matches!(put, Err(CredentialError::NoKey)));
        assert!(matches!(keyless.rotate().await, Err(CredentialError::NoKey)));
        assert!(keyless.remove(&name("x")).await.unwrap());
    }
}

each_backend! {
    async fn nothing_of_a_credential_is_readable_in_the_row(test) {
        let store = a_store(&test, &[("a", 1)]).await;
        store.put(&name("x"), &credential("Canary-7Qz"), "admin", false).await.unwrap();
        let db = test.database();
        let read = db.statement("SELECT nonce, ciphertext FROM ops_credentials", []);
        let row = db.connection().query_one_raw(read).await.unwrap().unwrap();
        let nonce: Vec<u8> = row.try_get_by_index(0).unwrap();
        let bytes: Vec<u8> = row.try_get_by_index(1).unwrap();
        assert_eq!(nonce.len(), 12);
        for secret in ["Canary", "LabGatewaySvc"] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
        }
    }
}
