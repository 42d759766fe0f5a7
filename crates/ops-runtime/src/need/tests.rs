use std::collections::BTreeMap;

use super::*;

fn now() -> DateTime<Utc> {
    "2026-03-01T09:00:00Z".parse().unwrap()
}

fn after(secs: i64) -> DateTime<Utc> {
    now() + TimeDelta::seconds(secs)
}

fn host(name: &str) -> HostName {
    HostName::parse(name).unwrap()
}

/// Hosts `a` and `b` of the lab 1, and `c` of the lab 2.
fn catalog() -> Catalog {
    let entry = |name: &str, lab: u32| {
        serde_json::json!({
            "name": name, "address": "10.0.0.1", "winrm_user": "u", "winrm_pass": "p", "labs": [lab],
        })
    };
    let hosts = [entry("A", 1), entry("b", 1), entry("c", 2)];
    let text = serde_json::json!({"hosts": hosts}).to_string();
    Catalog::parse(&text, &|_| None).unwrap()
}

/// Hosts are woken two minutes before a reservation.
fn settings(variables: &[(&str, &str)]) -> Settings {
    let variables: BTreeMap<String, String> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Settings::read(&variables, None).unwrap().settings
}

fn that_shuts_down() -> Settings {
    settings(&[("OPS_IDLE_POWER_ACTION", "shutdown")])
}

fn nothing() -> Demand {
    Demand {
        reservations: Vec::new(),
        claims: HashMap::new(),
        leads: HashMap::new(),
        taken_down: HashMap::new(),
        maintenance: HashMap::new(),
    }
}

fn reservation(lab: &str, status: &str, from: i64, until: i64) -> FleetReservation {
    FleetReservation {
        reservation_id: format!("0x{lab}"),
        lab: LabId::new(lab),
        status: status.to_owned(),
        start: after(from),
        end: after(until),
        host: None,
    }
}

fn need(settings: &Settings, demand: &Demand, name: &str) -> Need {
    Needs::new(settings, demand, &catalog(), now()).of(&host(name))
}

#[test]
fn where_idle_hosts_stay_on_all_of_them_should_be_but_one_that_was_taken_down() {
    let mut demand = nothing();
    demand.taken_down.insert("b".to_owned(), after(-60));
    let settings = settings(&[]);
    assert_eq!(need(&settings, &demand, "a"), Need::On);
    assert_eq!(need(&settings, &demand, "b"), Need::TakenDown(after(-60)));
}

#[test]
fn where_idle_hosts_are_shut_down_only_one_with_a_claim_or_a_reservation_should_be_on() {
    let settings = that_shuts_down();
    let mut demand = nothing();
    assert_eq!(need(&settings, &demand, "a"), Need::Nobody(None));
    let claim = ClaimInfo {
        holder: "somebody".to_owned(),
        left: Duration::from_secs(9),
    };
    demand.claims.insert("b".to_owned(), claim);
    demand.reservations = vec![reservation("2", "CONFIRMED", -60, 60)];
    let of = |name: &str| need(&settings, &demand, name);
    assert_eq!(
        [of("a"), of("b"), of("c")],
        [Need::Nobody(None), Need::On, Need::On]
    );
}

#[test]
fn a_host_is_needed_when_it_is_to_be_woken_and_not_before() {
    let settings = that_shuts_down();
    let mut demand = nothing();
    demand.reservations = vec![reservation("1", "CONFIRMED", 300, 900)];
    assert_eq!(need(&settings, &demand, "a"), Need::Nobody(Some(after(180))));
    assert_eq!(
        need(&settings, &demand, "b"),
        Need::Nobody(None),
        "the first of the lab has it"
    );
    demand.leads.insert("a".to_owned(), Duration::from_secs(300));
    assert_eq!(need(&settings, &demand, "a"), Need::On, "a slow host");
    demand.reservations[0].host = Some("b".to_owned());
    demand.reservations[0].start = after(100);
    assert_eq!(
        need(&settings, &demand, "a"),
        Need::Nobody(None),
        "begun on another"
    );
    assert_eq!(need(&settings, &demand, "b"), Need::On);
}

#[test]
fn a_host_under_maintenance_may_be_off_unless_somebody_is_at_it() {
    let settings = settings(&[]);
    let mut demand = nothing();
    let maintenance = Maintenance {
        reason: "new disk".to_owned(),
        owner: "ana".to_owned(),
        since: after(-600),
        until: Some(after(600)),
    };
    demand.maintenance.insert(host("a"), maintenance);
    demand.reservations = vec![reservation("1", "CONFIRMED", -60, 60)];
    assert_eq!(need(&settings, &demand, "a"), Need::Maintained(Some(after(600))));
    demand.reservations[0].status = "ACTIVE".to_owned();
    assert_eq!(need(&settings, &demand, "a"), Need::On, "begun before it");
}
