//! A host at which an engineer works: the scheduler leaves it alone, and goes on when he leaves.

use reservation_engine::Store as _;
use reservation_store::{NewMaintenance, ReservationStore};
use store_support::each_backend;

use crate::SCHEDULER;
use crate::harness::{
    Lab, asleep, commands, in_secs, migrate, now, packets, reservations, status, until_true,
};
use crate::running::has_status;

each_backend! {
    async fn a_host_in_maintenance_gets_no_packet_and_is_made_ready_when_that_ends(test) {
        let db = test.database();
        migrate(db).await;
        let lab = Lab::start(vec![asleep(1), asleep(2)]).await.on(&test);
        let store = ReservationStore::new(db.clone());
        let host = lab_model::HostName::parse("lab-ws-01").unwrap();
        let said = NewMaintenance {
            reason: "new disk".to_owned(),
            owner: "ana".to_owned(),
            until: None,
        };
        store.put_maintenance(&host, &said, now()).await.unwrap();
        for (id, lab) in [("0xaa", "1"), ("0xbb", "2")] {
            reservations::book(db, id, lab, in_secs(20), in_secs(600)).await;
        }
        let mut scheduler = lab.run(SCHEDULER, &[]);
        // Both were due in the same pass.
        has_status(db, "0xbb", "ACTIVE").await;
        assert_eq!(packets(lab.sim(1)).len(), 0);
        assert_eq!(lab.sim(1).counts().commands, 0);
        assert_eq!(status(db, "0xaa").await, "CONFIRMED");

        assert!(store.end_maintenance(&host, now()).await.unwrap());
        has_status(db, "0xaa", "ACTIVE").await;
        assert_eq!(commands(lab.sim(1), "prepare-session").len(), 1);

        // What is there when the next one comes is released, softly.
        scheduler.says("maintenance has ended").await;
        store.put_maintenance(&host, &said, now()).await.unwrap();
        let begun = || scheduler.said().matches("maintenance has begun").count() == 2;
        until_true("the scheduler knows of it again", begun).await;
        reservations::shift(db, "0xaa", in_secs(-120), in_secs(-60)).await;
        has_status(db, "0xaa", "COMPLETED").await;
        let released = commands(lab.sim(1), "release-session");
        assert_eq!(released.len(), 1);
        assert!(!released[0].1.iter().any(|word| word == "--reboot"), "{released:?}");
        assert_eq!(store.maintenance(now()).await.unwrap().len(), 1);
        assert_eq!(scheduler.terminate().await.0.code(), Some(0));
    }
}
