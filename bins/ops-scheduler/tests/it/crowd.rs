//! Many reservations on many hosts at once: booked, waited for, and judged by what the hosts and the journal show.
#![expect(clippy::print_stdout, reason = "figures for whoever runs the tests")]

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use host_sim::{Effect, EffectKind, HostSpec, SimHost};
use sea_orm::FromQueryResult;
use store_support::Database;
use store_support::test_support::on_mysql;

use crate::SCHEDULER;
use crate::harness::{
    Lab, asleep, commands, count, in_secs, migrate, now, packets, reservations, until_true, until_within,
};

/// Enough for what takes half of it on a machine with nothing else to do.
const ALL: Duration = Duration::from_secs(150);

/// What a host went through that must not happen twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deeds {
    pub(crate) prepared: usize,
    pub(crate) released: usize,
    pub(crate) rebooted: usize,
    pub(crate) users_thrown_out: usize,
}

/// Prepared, used, released and rebooted, each once.
const ONCE: Deeds = Deeds {
    prepared: 1,
    released: 1,
    rebooted: 1,
    users_thrown_out: 0,
};

/// Hosts with one reservation each, and the database they are in.
pub(crate) struct Crowd<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) db: &'a Database,
    pub(crate) hosts: std::ops::RangeInclusive<u8>,
}

/// The name of the reservation on host `n`.
pub(crate) fn id(n: u8) -> String {
    format!("0x{n:03}")
}

/// Hosts that are asleep, with a student who comes as soon as one is prepared.
pub(crate) fn sleepers(count: u8, shape: impl Fn(u8, &mut HostSpec)) -> Vec<HostSpec> {
    let one = |n| {
        let mut spec = asleep(n);
        spec.station.student_follows_prepare = true;
        shape(n, &mut spec);
        spec
    };
    (1..=count).map(one).collect()
}

/// A laboratory for several schedulers that wake hosts `lead` before a start.
pub(crate) async fn lab_of(specs: Vec<HostSpec>, lead_secs: u32) -> Lab {
    let lab = Lab::start(specs).await.without("OPS_WORKER_NAME");
    lab.with("OPS_RESERVATION_START_LEAD", lead_secs.to_string())
        .with("OPS_DB_MAX_CONNECTIONS", "20")
}

impl Crowd<'_> {
    pub(crate) async fn book(&self, times: impl Fn(u8) -> (DateTime<Utc>, DateTime<Utc>)) {
        for n in self.hosts.clone() {
            let (start, end) = times(n);
            reservations::book(self.db, &id(n), &n.to_string(), start, end).await;
        }
    }

    /// Ends all of them now.
    pub(crate) async fn end_now(&self) {
        for n in self.hosts.clone() {
            reservations::shift(self.db, &id(n), in_secs(-60), in_secs(0)).await;
        }
    }

    /// Ends all of them within the next 16 s.
    async fn end_one_by_one(&self) {
        let begin = now();
        for n in self.hosts.clone() {
            let end = begin + TimeDelta::seconds(4 + i64::from(n % 16));
            reservations::shift(self.db, &id(n), begin - TimeDelta::seconds(60), end).await;
        }
    }

    /// How many operations of a kind are done.
    pub(crate) async fn done(&self, kind: &str) -> usize {
        let (first, last) = (id(*self.hosts.start()), id(*self.hosts.end()));
        let sql = format!(
            "SELECT COUNT(*) FROM ops_operations WHERE kind = '{kind}' AND state = 'done' \
             AND reservation_id BETWEEN '{first}' AND '{last}'"
        );
        usize::try_from(count(self.db, &sql).await).unwrap()
    }

    pub(crate) async fn all_done(&self, kind: &str) {
        let wanted = self.hosts.len();
        let given_up = "SELECT COUNT(*) FROM ops_operations WHERE state = 'needs_attention'";
        until_within(ALL, &format!("{wanted} operations {kind} are done"), || async {
            assert_eq!(count(self.db, given_up).await, 0, "nothing was given up");
            (self.done(kind).await == wanted).then_some(())
        })
        .await;
    }

    fn sims(&self) -> impl Iterator<Item = (u8, &SimHost)> {
        self.hosts.clone().map(|n| (n, self.lab.sim(n)))
    }

    /// How many hosts were given a command of the station, by its first word.
    pub(crate) fn given(&self, word: &str) -> usize {
        self.sims()
            .filter(|(_, host)| !commands(host, word).is_empty())
            .count()
    }

    /// How many hosts were sent a magic packet.
    pub(crate) fn called(&self) -> usize {
        self.sims().filter(|(_, host)| !packets(host).is_empty()).count()
    }

    /// All that was done to the hosts from outside after an instant and before another: packets, and commands that
    /// change something.
    pub(crate) fn touched(&self, after: DateTime<Utc>, before: DateTime<Utc>) -> Vec<(u8, Effect)> {
        let mut touched = Vec::new();
        for (n, host) in self.sims() {
            let effects = host.effects().into_iter();
            let within = effects.filter(|effect| effect.at > after && effect.at < before);
            touched.extend(within.filter(is_from_outside).map(|effect| (n, effect)));
        }
        touched
    }

    /// Everything was done once, everything is on record once, and nobody acted on what had become another's.
    pub(crate) async fn judge(&self) {
        // A release answers before its reboot begins.
        until_true("every host was rebooted", || {
            self.sims().all(|(_, host)| deeds(host).rebooted > 0)
        })
        .await;
        for (n, host) in self.sims() {
            assert_eq!(deeds(host), ONCE, "host {n}: {:#?}", host.effects());
        }
        for action in ["scheduler:start", "scheduler:end"] {
            let rows = format!(
                "SELECT COUNT(*) FROM reservation_operations WHERE action = '{action}' AND success = TRUE"
            );
            assert_eq!(
                count(self.db, &rows).await,
                i64::try_from(self.hosts.len()).unwrap(),
                "{action}"
            );
        }
        let completed = "SELECT COUNT(*) FROM lab_reservations WHERE status = 'COMPLETED'";
        assert_eq!(
            count(self.db, completed).await,
            i64::try_from(self.hosts.len()).unwrap()
        );
        for (what, sql) in OVERTAKEN {
            assert_eq!(count(self.db, sql).await, 0, "{what}");
        }
    }
}

/// Tries whose host had a holder with a newer token before they wrote: there must be none.
const OVERTAKEN: [(&str, &str); 2] = [
    (
        "an outcome was written under a token that a newer one had replaced",
        "SELECT COUNT(*) FROM ops_attempts a JOIN ops_operations o ON o.id = a.operation_id \
         JOIN ops_operations p ON p.host = o.host JOIN ops_attempts b ON b.operation_id = p.id \
         WHERE b.token > a.token AND a.outcome_at > b.intent_at",
    ),
    (
        "an intent was written under a token that a newer one had replaced",
        "SELECT COUNT(*) FROM ops_attempts a JOIN ops_operations o ON o.id = a.operation_id \
         JOIN ops_operations p ON p.host = o.host JOIN ops_attempts b ON b.operation_id = p.id \
         WHERE b.token > a.token AND a.intent_at > b.intent_at",
    ),
];

fn is_from_outside(effect: &Effect) -> bool {
    let changing = [
        "prepare-session",
        "release-session",
        "power",
        "session",
        "recovery",
    ];
    match &effect.what {
        EffectKind::MagicPacket { .. } => true,
        EffectKind::Command { argv, .. } => argv.get(1).is_some_and(|word| changing.contains(&word.as_str())),
        _ => false,
    }
}

fn deeds(host: &SimHost) -> Deeds {
    let effects = host.effects();
    let number = |is: fn(&EffectKind) -> bool| effects.iter().filter(|effect| is(&effect.what)).count();
    Deeds {
        prepared: commands(host, "prepare-session").len(),
        released: commands(host, "release-session").len(),
        rebooted: number(|what| matches!(what, EffectKind::Rebooted { .. })),
        users_thrown_out: number(|what| matches!(what, EffectKind::ForcedLogoff { .. })),
    }
}

/// One try as the journal has it.
#[derive(Debug, Clone, FromQueryResult)]
pub(crate) struct Try {
    pub(crate) host: String,
    pub(crate) step: String,
    pub(crate) token: i64,
    pub(crate) intent_at: NaiveDateTime,
    pub(crate) outcome: Option<String>,
}

pub(crate) async fn tries(db: &Database) -> Vec<Try> {
    let sql = "SELECT o.host, a.step, a.token, a.intent_at, a.outcome FROM ops_attempts a \
               JOIN ops_operations o ON o.id = a.operation_id ORDER BY a.id";
    Try::find_by_statement(db.statement(sql, []))
        .all(db.connection())
        .await
        .unwrap()
}

/// A try that was cut off, and the first one of the next holder on the same host.
#[derive(Debug)]
pub(crate) struct TakenOver {
    pub(crate) cut_off: Try,
    pub(crate) by: Try,
}

/// What was cut off, each with who took it over; all of it must have been.
pub(crate) async fn taken_over(db: &Database) -> Vec<TakenOver> {
    let tries = tries(db).await;
    let open = tries.iter().enumerate().filter(|(_, one)| one.outcome.is_none());
    open.map(|(at, cut_off)| {
        let mut later = tries[at + 1..].iter().filter(|next| next.host == cut_off.host);
        let by = later.find(|next| next.token > cut_off.token);
        TakenOver {
            by: by
                .unwrap_or_else(|| panic!("nobody took over {cut_off:?}"))
                .clone(),
            cut_off: cut_off.clone(),
        }
    })
    .collect()
}

/// Prints how long it took from `lost` until others went on with what was cut off then. What another of the `losses`
/// may have cut off as well is left out.
pub(crate) fn print_takeover(what: &str, taken: &[TakenOver], lost: DateTime<Utc>, losses: &[DateTime<Utc>]) {
    let between = |one: &TakenOver, loss: DateTime<Utc>| {
        one.cut_off.intent_at <= loss.naive_utc() && one.by.intent_at > loss.naive_utc()
    };
    let only_then = |one: &&TakenOver| {
        between(one, lost) && losses.iter().filter(|loss| between(one, **loss)).count() <= 1
    };
    let mut waits: Vec<TimeDelta> = taken
        .iter()
        .filter(only_then)
        .map(|one| one.by.intent_at - lost.naive_utc())
        .collect();
    waits.sort();
    let mut steps: BTreeMap<&str, usize> = BTreeMap::new();
    for one in taken {
        *steps.entry(&one.cut_off.step).or_default() += 1;
    }
    match (waits.first(), waits.last()) {
        (Some(first), Some(last)) => println!(
            "{what}: {} cut-off steps were gone on with after {:.1} to {:.1} s (all so far, by step: {steps:?})",
            waits.len(),
            secs(*first),
            secs(*last),
        ),
        _ => println!("{what}: no step was cut off by this alone"),
    }
}

pub(crate) fn secs(time: TimeDelta) -> f64 {
    time.as_seconds_f64()
}

#[derive(Debug, FromQueryResult)]
struct Opened {
    kind: String,
    due_at: NaiveDateTime,
    created_at: NaiveDateTime,
}

/// Prints how late operations were opened: their row against the instant they were due.
pub(crate) async fn print_lateness(db: &Database) {
    let sql = "SELECT kind, due_at, created_at FROM ops_operations";
    let opened = Opened::find_by_statement(db.statement(sql, []))
        .all(db.connection())
        .await
        .unwrap();
    for kind in ["start", "end"] {
        let of_kind = opened.iter().filter(|row| row.kind == kind);
        let mut late: Vec<f64> = of_kind.map(|row| secs(row.created_at - row.due_at)).collect();
        late.sort_by(f64::total_cmp);
        let at = |percent: usize| late[(late.len() * percent).div_ceil(100).max(1) - 1];
        let (half, most, max) = (at(50), at(99), at(100));
        println!(
            "{} of kind {kind}: opened late by p50 {half:.2} s, p99 {most:.2} s, max {max:.2} s",
            late.len()
        );
    }
}

/// Reservations on so many hosts that begin within 16 s and, once all are active, end within 16 s.
async fn a_class(db: Database, lab: Lab, hosts: u8, copies: usize) {
    let crowd = Crowd {
        lab: &lab,
        db: &db,
        hosts: 1..=hosts,
    };
    let schedulers: Vec<_> = (0..copies).map(|_| lab.run(SCHEDULER, &[])).collect();
    let begin = now();
    let at = |secs: i64| begin + TimeDelta::seconds(secs);
    crowd.book(|n| (at(8 + i64::from(n % 16)), at(3_600))).await;
    crowd.all_done("start").await;
    println!(
        "{copies} schedulers: {hosts} starts done {:.1} s after they were booked",
        secs(now() - begin)
    );
    // Not before: on a slow machine they would be over before they were started.
    crowd.end_one_by_one().await;
    crowd.all_done("end").await;
    println!(
        "{copies} schedulers: {hosts} ends done {:.1} s after they were booked",
        secs(now() - begin)
    );
    let mut shares = Vec::new();
    for scheduler in schedulers {
        let (ended, said) = scheduler.terminate().await;
        assert_eq!(ended.code(), Some(0), "{said}");
        shares.push(said.matches("state=\"done\"").count());
        assert!(!said.contains("claim was lost"), "{said}");
    }
    print_lateness(&db).await;
    println!("operations ended by each: {shares:?}");
    crowd.judge().await;
    // A step whose intent took a third of a lease to be stored is let go, and gone on with as after a crash.
    println!("cut off and gone on with: {}", taken_over(&db).await.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eighty_reservations_within_a_minute_are_each_run_once_by_two_schedulers() {
    on_mysql(|test| async move {
        migrate(test.database()).await;
        let lab = lab_of(sleepers(80, |_, _| {}), 5).await.on(&test);
        a_class(test.database().clone(), lab, 80, 2).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "more of the same, and a minute more: ./test.sh --all"]
async fn two_hundred_reservations_within_a_minute_are_each_run_once_by_three_schedulers() {
    on_mysql(|test| async move {
        migrate(test.database()).await;
        let lab = lab_of(sleepers(200, |_, _| {}), 5).await.on(&test);
        a_class(test.database().clone(), lab, 200, 3).await;
    })
    .await;
}
