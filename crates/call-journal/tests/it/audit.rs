use call_journal::{AuditEntry, AuditFilter, AuditId};
use serde_json::json;
use store_support::each_backend;

use crate::{a_journal, minutes_later, noon};

fn entry(n: i64) -> AuditEntry {
    AuditEntry {
        at: minutes_later(n),
        request_id: format!("req-{n}"),
        caller: if n % 2 == 0 { "gateway" } else { "teacher" }.to_owned(),
        role: "operator".to_owned(),
        from: "192.0.2.7".to_owned(),
        action: "POST /api/wol".to_owned(),
        subject: (n % 3 == 0).then(|| "lab-ws-01".to_owned()),
        detail: Some(json!({"attempts": n})),
    }
}

each_backend! {
    async fn the_trail_is_read_newest_first_by_pages_that_miss_nothing(test) {
        let journal = a_journal(&test).await;
        let mut ids = Vec::new();
        for n in 0..10 {
            ids.push(journal.audit_begin(entry(n)).await.unwrap());
        }
        let everything = AuditFilter::default();
        let mut seen: Vec<AuditId> = Vec::new();
        let mut after = None;
        for _ in 0..5 {
            let page = journal.audit_page(&everything, after, 4).await.unwrap();
            seen.extend(page.rows.iter().map(|row| row.id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        ids.reverse();
        assert_eq!(seen, ids);
        let about = AuditFilter {
            caller: Some("gateway".to_owned()),
            subject: Some("lab-ws-01".to_owned()),
        };
        let page = journal.audit_page(&about, None, 10).await.unwrap();
        let requests: Vec<_> = page.rows.iter().map(|row| row.entry.request_id.as_str()).collect();
        assert_eq!((requests, page.next), (vec!["req-6", "req-0"], None));
    }

    async fn an_entry_gains_its_outcome_and_is_read_as_it_was_written(test) {
        let journal = a_journal(&test).await;
        let id = journal.audit_begin(entry(3)).await.unwrap();
        let everything = AuditFilter::default();
        let open = journal.audit_page(&everything, None, 1).await.unwrap().rows.remove(0);
        assert_eq!((open.status, open.code, open.ended_at), (None, None, None));
        assert_eq!(open.entry, entry(3));
        journal.audit_end(id, 409, Some("host_busy"), noon()).await.unwrap();
        let ended = journal.audit_page(&everything, None, 1).await.unwrap().rows.remove(0);
        assert_eq!((ended.status, ended.code.as_deref(), ended.ended_at), (Some(409), Some("host_busy"), Some(noon())));
    }

    async fn over_long_texts_are_cut_and_an_over_long_detail_says_so(test) {
        let journal = a_journal(&test).await;
        let long = AuditEntry {
            request_id: "r".repeat(999),
            caller: "c".repeat(999),
            role: "r".repeat(999),
            from: "f".repeat(999),
            action: "a".repeat(999),
            subject: Some("ä".repeat(999)),
            detail: Some(json!({"text": "x".repeat(100_000)})),
            ..entry(1)
        };
        journal.audit_begin(long).await.unwrap();
        let row = journal.audit_page(&AuditFilter::default(), None, 1).await.unwrap().rows.remove(0);
        assert_eq!(row.entry.subject.unwrap().chars().count(), 128);
        assert_eq!(row.entry.detail.unwrap()["cut"], true);
    }
}
