use std::collections::BTreeSet;

use chrono::{TimeDelta, TimeZone};
use lab_model::LabId;

use super::*;
use crate::operation::{OperationId, OperationKind, Step};
use crate::reason::Reason;
use crate::reservation::Reservation;
use crate::state::State;

fn at(minutes: i64) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 1, 9, 0, 0).unwrap() + TimeDelta::minutes(minutes)
}

fn host(name: &str) -> HostName {
    HostName::parse(name).unwrap()
}

/// Lab `pool` is served by the hosts a, b and c, lab `one` by a, others by none.
struct Hosts {
    removed: BTreeSet<&'static str>,
}

impl Hosts {
    fn all() -> Self {
        Self {
            removed: BTreeSet::new(),
        }
    }
}

impl HostMap for Hosts {
    fn host_for(&self, lab: &LabId) -> Option<HostName> {
        self.hosts_for(lab).into_iter().next()
    }

    fn hosts_for(&self, lab: &LabId) -> Vec<HostName> {
        let names: &[&str] = match lab.as_str() {
            "pool" => &["a", "b", "c"],
            "one" => &["a"],
            _ => &[],
        };
        let left = names.iter().filter(|name| !self.removed.contains(*name));
        left.map(|name| host(name)).collect()
    }

    fn knows(&self, host: &HostName) -> bool {
        !self.removed.contains(host.as_str())
    }
}

fn item(id: &str, lab: &str, from: i64, to: i64) -> WorkItem {
    WorkItem {
        reservation: Reservation {
            id: ReservationId::parse(id).unwrap(),
            lab: LabId::new(lab),
            status: ReservationStatus::Confirmed,
            starts_at: at(from),
            ends_at: at(to),
        },
        start: None,
        end: None,
    }
}

fn begun(mut item: WorkItem, on: &str) -> WorkItem {
    item.start = Some(Operation {
        id: OperationId(1),
        kind: OperationKind::Start,
        reservation: item.reservation.id.clone(),
        lab: None,
        host: host(on),
        state: State::Waiting {
            step: Step::Wake,
            failed: 1,
            until: at(5),
            reason: Reason::new("wake_no_answer", "no answer"),
            unknown_since: None,
            failed_at: None,
        },
        prepare_began_at: None,
        due_at: item.reservation.starts_at,
        created_at: item.reservation.starts_at,
    });
    item
}

fn active(item: WorkItem, on: &str) -> WorkItem {
    let mut item = begun(item, on);
    item.reservation.status = ReservationStatus::Active;
    let start = item.start.as_mut().unwrap();
    start.state = State::Done {
        at: at(0),
        note: None,
    };
    start.prepare_began_at = Some(at(-1));
    item
}

fn placed(pooling: bool, hosts: &Hosts, minutes: i64, items: Vec<WorkItem>) -> Vec<String> {
    let settings = Settings {
        host_pooling: pooling,
        ..Settings::default()
    };
    let mut lines = Vec::new();
    for (host, placed) in place(at(minutes), &settings, items, hosts, &HashMap::new()) {
        for item in &placed.items {
            let id = &item.reservation.id;
            let spare = placed.facts.spares.get(id);
            let spare = spare
                .map(|spare| format!(" or {}", spare.host))
                .unwrap_or_default();
            lines.push(format!("{id} on {host}{spare}"));
        }
    }
    lines.sort();
    lines
}

#[test]
fn without_pooling_the_first_host_of_the_file_serves_all() {
    let items = vec![
        item("1", "pool", 0, 60),
        item("2", "pool", 0, 60),
        item("3", "none", 0, 60),
    ];
    assert_eq!(
        placed(false, &Hosts::all(), -5, items),
        ["1 on a", "2 on a", "3 on unmapped"]
    );
}

#[test]
fn with_pooling_each_gets_the_first_host_that_is_free_for_its_time() {
    let items = vec![
        item("1", "pool", 0, 60),
        item("2", "pool", 30, 90),
        item("3", "pool", 60, 120),
        item("4", "pool", 40, 70),
        item("5", "pool", 45, 70),
    ];
    assert_eq!(
        placed(true, &Hosts::all(), -5, items),
        ["1 on a", "2 on b", "3 on a", "4 on c", "5 on a"],
        "back to back is free; whoever finds none free waits for the first"
    );
}

#[test]
fn one_who_is_there_beyond_his_end_still_has_the_host() {
    let items = vec![active(item("1", "pool", 0, 60), "a"), item("2", "pool", 60, 120)];
    assert_eq!(
        placed(true, &Hosts::all(), 59, items.clone()),
        ["1 on a", "2 on a"]
    );
    assert_eq!(
        placed(true, &Hosts::all(), 62, items.clone()),
        ["1 on a", "2 on a"],
        "he is being released"
    );
    let mut extended = items;
    extended[0].reservation.ends_at = at(90);
    assert_eq!(placed(true, &Hosts::all(), 62, extended), ["1 on a", "2 on b"]);
}

#[test]
fn two_reservations_never_get_one_spare() {
    let items = vec![
        begun(item("1", "pool", 0, 60), "a"),
        begun(item("2", "pool", 0, 60), "a"),
        begun(item("3", "pool", 0, 60), "a"),
    ];
    assert_eq!(
        placed(true, &Hosts::all(), -1, items),
        ["1 on a or b", "2 on a or c", "3 on a"]
    );
}

#[test]
fn a_spare_is_the_next_one_around_and_never_one_that_is_taken() {
    let items = vec![begun(item("1", "pool", 0, 60), "b"), item("2", "one", 10, 40)];
    assert_eq!(
        placed(true, &Hosts::all(), -1, items.clone()),
        ["1 on b or c", "2 on a"]
    );
    let last = vec![begun(item("1", "pool", 0, 60), "c"), item("2", "one", 10, 40)];
    assert_eq!(placed(true, &Hosts::all(), -1, last), ["1 on c or b", "2 on a"]);
    assert_eq!(placed(false, &Hosts::all(), -1, items), ["1 on b", "2 on a"]);
}

#[test]
fn what_was_begun_on_a_host_that_is_gone_gets_another_one_with_or_without_pooling() {
    let gone = Hosts {
        removed: BTreeSet::from(["a"]),
    };
    let items = || {
        vec![
            begun(item("1", "pool", 0, 60), "a"),
            begun(item("2", "one", 0, 60), "a"),
        ]
    };
    assert_eq!(placed(false, &gone, -1, items()), ["1 on a or b", "2 on a"]);
    assert_eq!(placed(true, &gone, -1, items()), ["1 on a or b", "2 on a"]);
    let placement = place(at(-1), &Settings::default(), items(), &gone, &HashMap::new());
    assert_eq!(placement[&host("a")].facts.presence, Presence::Removed);
}

#[test]
fn what_waited_without_a_host_gets_the_one_that_came() {
    let mut waits = item("1", "one", 0, 60);
    waits = begun(waits, "unmapped");
    assert_eq!(
        placed(false, &Hosts::all(), 0, vec![waits.clone()]),
        ["1 on unmapped or a"]
    );
    waits.start.as_mut().unwrap().state = State::Done {
        at: at(0),
        note: None,
    };
    assert_eq!(
        placed(false, &Hosts::all(), 0, vec![waits]),
        ["1 on a"],
        "what ended there begins anew"
    );
}

#[test]
fn the_placement_does_not_depend_on_the_order_of_the_rows() {
    let items = vec![
        item("1", "pool", 0, 60),
        begun(item("2", "pool", 0, 60), "a"),
        item("3", "pool", 20, 50),
        active(item("4", "one", -30, 10), "a"),
    ];
    let mut reversed = items.clone();
    reversed.reverse();
    assert_eq!(
        placed(true, &Hosts::all(), 0, items),
        placed(true, &Hosts::all(), 0, reversed)
    );
}

#[test]
fn a_host_that_is_being_released_is_no_spare() {
    let items = vec![
        active(item("1", "one", -60, -1), "a"),
        begun(item("2", "pool", 0, 60), "c"),
    ];
    assert_eq!(
        placed(true, &Hosts::all(), 0, items.clone()),
        ["1 on a", "2 on c or b"]
    );
    let mut full = items;
    full.push(active(item("3", "pool", -60, 30), "b"));
    assert_eq!(
        placed(true, &Hosts::all(), 0, full),
        ["1 on a", "2 on c", "3 on b"]
    );
}
