//! A database that is killed, paused or cut off while many reservations are being run.
//!
//! What is cut off by a network is played in network namespaces: the hosts and the schedulers are in one, the database
//! is in another, with a way for each scheduler. The test program runs itself again inside; environment variables
//! tell the copy what it is.
#![expect(clippy::print_stdout, reason = "figures for whoever runs the tests")]

use std::process::{Command, Stdio};
use std::time::Duration;

use chrono::TimeDelta;
use store_support::Database;

use crate::SCHEDULER;
use crate::crowd::{Crowd, lab_of, print_lateness, print_takeover, secs, sleepers, taken_over};
use crate::harness::{Lab, Server, in_secs, new_schema, now, private_dsn, until_true};

const LOCAL: &str = "127.0.0.1";

async fn pass_by(time: Duration) {
    // How long the database is away is the experiment.
    tokio::time::sleep(time).await;
}

#[expect(
    clippy::disallowed_methods,
    reason = "the server of other tests says whether there is MariaDB here"
)]
fn has_mariadb() -> bool {
    std::env::var("TEST_MYSQL_URL").is_ok() || std::env::var("REQUIRE_REAL").as_deref() == Ok("1")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_killed_during_starts_and_frozen_during_ends_loses_nothing_and_doubles_nothing() {
    if !has_mariadb() {
        return println!("skipped: no MariaDB (TEST_MYSQL_URL)");
    }
    let server = Server::start();
    let db = new_schema(LOCAL, server.port()).await;
    let specs = sleepers(30, |n, spec| {
        let boots = Duration::from_millis(300 + 100 * u64::from(n));
        spec.boot.port_open = boots..boots + Duration::from_secs(1);
        spec.station.durations.prepare = Duration::from_secs(1);
        spec.station.durations.release = Duration::from_secs(1);
    });
    let lab = lab_of(specs, 5)
        .await
        .with("MYSQL_DSN", private_dsn(LOCAL, server.port()));
    let crowd = Crowd {
        lab: &lab,
        db: &db,
        hosts: 1..=30,
    };
    let mut schedulers = [lab.run(SCHEDULER, &[]), lab.run(SCHEDULER, &[])];
    for scheduler in &mut schedulers {
        scheduler.says("took shards").await;
    }
    crowd
        .book(|n| (in_secs(8 + i64::from(n % 5)), in_secs(900)))
        .await;
    until_true("some hosts are prepared", || crowd.given("prepare-session") >= 10).await;
    let killed = now();
    server.order("restart");
    println!("the database was away for {:.1} s", secs(now() - killed));
    crowd.all_done("start").await;

    crowd.end_now().await;
    until_true("some hosts are released", || crowd.given("release-session") >= 10).await;
    server.order("pause");
    // Longer than a lease: who holds a claim has to let go of it, and who comes first has it afterwards.
    pass_by(Duration::from_secs(18)).await;
    server.order("resume");
    crowd.all_done("end").await;
    for scheduler in schedulers {
        assert_eq!(scheduler.terminate().await.0.code(), Some(0));
    }
    print_lateness(&db).await;
    crowd.judge().await;
    db.close().await;
}

/// Tells a copy of the test program the port of the database, and the namespace it is in.
const PORT: &str = "CUT_OFF_TEST_PORT";
const DATABASE: &str = "CUT_OFF_TEST_DATABASE";
const ROLE: &str = "database_lost::plays_the_site_inside_a_namespace";
/// The database as the first scheduler reaches it, and as everybody else does.
const WAYS: [&str; 2] = ["10.78.1.2", "10.78.2.2"];
/// How long after the database was lost a worker may act: the lease less its margin, and a little for the log.
const SAFE: TimeDelta = TimeDelta::milliseconds(12_200);
const CUT: Duration = Duration::from_secs(30);

#[test]
#[ignore = "needs root and network namespaces, and two minutes: ./test.sh --all"]
fn a_scheduler_cut_off_from_the_database_stops_acting_before_its_lease_ends() {
    let networks = match Networks::build() {
        Ok(networks) => networks,
        Err(reason) => return println!("skipped: no network namespaces here ({reason})"),
    };
    let server = Server::start_in(&networks.database());
    let played = Command::new("ip")
        .args(["netns", "exec", &networks.site()])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", ROLE, "--nocapture"])
        .env(PORT, server.port().to_string())
        .env(DATABASE, networks.database())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    println!("{}", String::from_utf8_lossy(&played.stdout));
    assert!(
        played.status.success(),
        "{}",
        String::from_utf8_lossy(&played.stderr)
    );
}

/// Does nothing unless started by the test above.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plays_the_site_inside_a_namespace() {
    #[expect(clippy::disallowed_methods, reason = "how the test tells its copy what to do")]
    let told = (std::env::var(PORT), std::env::var(DATABASE));
    let (Ok(port), Ok(database)) = told else { return };
    let port = port.parse().unwrap();
    let db = new_schema(WAYS[1], port).await;
    let specs = sleepers(32, |n, spec| {
        // The boots of every other host outlast a lease, and those of the second half the whole cut.
        let boots = Duration::from_secs(if n > 24 { 25 } else { 1 + 24 * u64::from(n % 2) });
        spec.boot.port_open = boots..boots + Duration::from_secs(2);
        spec.station.durations.prepare = Duration::from_secs(2);
    });
    let lab = lab_of(specs, 10)
        .await
        .with("MYSQL_DSN", private_dsn(WAYS[1], port));
    let by_the_first_way = private_dsn(WAYS[0], port);
    let mut schedulers = [
        lab.run_with(SCHEDULER, &[("MYSQL_DSN", &by_the_first_way)]),
        lab.run(SCHEDULER, &[]),
    ];
    for scheduler in &mut schedulers {
        scheduler.says("took shards").await;
    }
    one_is_cut_off(&lab, &db, &database).await;
    all_are_cut_off(&lab, &db, &database).await;

    let crowd = Crowd {
        lab: &lab,
        db: &db,
        hosts: 1..=32,
    };
    crowd.end_now().await;
    crowd.all_done("end").await;
    for scheduler in schedulers {
        assert_eq!(scheduler.terminate().await.0.code(), Some(0));
    }
    crowd.judge().await;
    db.close().await;
}

/// The other one takes over; between the last moment of the one and the first of the other nothing happens to a host.
async fn one_is_cut_off(lab: &Lab, db: &Database, database: &str) {
    let crowd = Crowd {
        lab,
        db,
        hosts: 1..=24,
    };
    crowd
        .book(|n| (in_secs(14 + i64::from(n % 4)), in_secs(900)))
        .await;
    until_true("the hosts are being woken", || crowd.called() == 24).await;
    let cut = now();
    way(database, 0, "down");
    crowd.all_done("start").await;
    println!(
        "all 24 started {:.1} s after one of two was cut off",
        secs(now() - cut)
    );
    let rest = (cut + TimeDelta::from_std(CUT).unwrap() - now()).to_std();
    pass_by(rest.unwrap_or_default()).await;
    way(database, 0, "up");
    let taken = taken_over(db).await;
    print_takeover("cut off", &taken, cut, &[]);
    assert!(!taken.is_empty(), "it was in the middle of something");
    for one in taken {
        let n = one.cut_off.host.rsplit('-').next().unwrap().parse().unwrap();
        let alone = Crowd {
            lab,
            db,
            hosts: n..=n,
        };
        let (last, next) = (cut + SAFE, one.by.intent_at.and_utc());
        let touched = alone.touched(last, next);
        assert!(
            touched.is_empty(),
            "touched between {last} and {next}: {touched:#?}"
        );
    }
}

/// With nobody to take over, nothing at all may happen from the last moment on until the database is back.
async fn all_are_cut_off(lab: &Lab, db: &Database, database: &str) {
    let crowd = Crowd {
        lab,
        db,
        hosts: 25..=32,
    };
    crowd.book(|_| (in_secs(14), in_secs(900))).await;
    until_true("the hosts are being woken", || crowd.called() == 8).await;
    let cut = now();
    for number in 0..WAYS.len() {
        way(database, number, "down");
    }
    pass_by(CUT).await;
    let back = now();
    let all = Crowd {
        lab,
        db,
        hosts: 1..=32,
    };
    let (within, after) = (all.touched(cut, cut + SAFE), all.touched(cut + SAFE, back));
    println!(
        "all cut off: {} effects until the leases were unsafe, {} after that",
        within.len(),
        after.len()
    );
    // Packets are repeated every ten seconds while a host boots: a worker that went on would show in `after`.
    assert!(!within.is_empty(), "they were still at it: {within:#?}");
    assert!(after.is_empty(), "without a lease: {after:#?}");
    for number in 0..WAYS.len() {
        way(database, number, "up");
    }
    crowd.all_done("start").await;
    println!(
        "all 8 started {:.1} s after the database was back",
        secs(now() - back)
    );
}

/// Cuts one way at the far end, where neither scheduler nor test sees it: packets just vanish.
fn way(database: &str, number: usize, state: &str) {
    ip(&["-n", database, "link", "set", &format!("far{number}"), state]).unwrap();
}

/// Two namespaces and two ways between them, removed on drop.
struct Networks {
    prefix: String,
}

impl Networks {
    fn build() -> Result<Self, String> {
        let networks = Self {
            prefix: format!("cut{}", std::process::id()),
        };
        let (site, database) = (networks.site(), networks.database());
        for namespace in [&site, &database] {
            ip(&["netns", "add", namespace])?;
            ip(&["-n", namespace, "link", "set", "lo", "up"])?;
        }
        for (number, far_address) in WAYS.iter().enumerate() {
            let (near, far) = (format!("near{number}"), format!("far{number}"));
            let pair = [
                "link", "add", &near, "netns", &site, "type", "veth", "peer", "name", &far, "netns",
                &database,
            ];
            ip(&pair)?;
            let near_address = format!("{}.1/24", far_address.strip_suffix(".2").unwrap());
            let far_address = format!("{far_address}/24");
            for (namespace, interface, address) in
                [(&site, &near, &near_address), (&database, &far, &far_address)]
            {
                ip(&["-n", namespace, "address", "add", address, "dev", interface])?;
                ip(&["-n", namespace, "link", "set", interface, "up"])?;
            }
        }
        Ok(networks)
    }

    fn site(&self) -> String {
        format!("{}s", self.prefix)
    }

    fn database(&self) -> String {
        format!("{}d", self.prefix)
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        for namespace in [self.site(), self.database()] {
            let _ = ip(&["netns", "delete", &namespace]);
        }
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let error = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {}: {}", arguments.join(" "), error.trim()))
}
