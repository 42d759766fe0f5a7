use call_journal::{AuditEntry, Forgotten, NewCall};
use chrono::TimeDelta;
use store_support::each_backend;

use crate::{LEASE, a_call, a_journal, count, noon, run};

each_backend! {
    async fn what_is_old_goes_in_batches_and_what_is_young_stays(test) {
        let journal = a_journal(&test).await;
        let db = test.database();
        let old: Vec<String> = (0..1_200)
            .map(|n| format!("('{n:036}', 'wol', 'c', '', 'succeeded', 'w', '2026-01-01 00:00:00')"))
            .collect();
        run(db, &format!(
            "INSERT INTO ops_calls (id, kind, caller, digest, state, worker, created_at) VALUES {}", old.join(", ")
        )).await;
        let old: Vec<String> = (0..700)
            .map(|n| format!("('2026-01-01 00:00:00', 'r{n}', 'c', 'admin', '', 'a')"))
            .collect();
        run(db, &format!(
            "INSERT INTO ops_audit (at, request_id, caller, role, from_address, action) VALUES {}", old.join(", ")
        )).await;
        for hours in [0, 1] {
            let call = NewCall { at: noon() - TimeDelta::hours(hours), ..a_call() };
            journal.open(&call, LEASE).await.unwrap();
        }
        let entry = AuditEntry {
            at: noon(),
            request_id: "r".to_owned(),
            caller: "c".to_owned(),
            role: "admin".to_owned(),
            from: "f".to_owned(),
            action: "a".to_owned(),
            subject: None,
            detail: None,
        };
        journal.audit_begin(entry).await.unwrap();
        let before = noon() - TimeDelta::days(1);
        let forgotten = journal.forget(before, before).await.unwrap();
        assert_eq!(forgotten, Forgotten { calls: 1_200, audit: 700 });
        assert_eq!((count(db, "ops_calls").await, count(db, "ops_audit").await), (2, 1));
        assert_eq!(journal.forget(before, before).await.unwrap(), Forgotten::default());
    }
}
