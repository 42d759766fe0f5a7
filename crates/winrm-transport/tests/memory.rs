//! What an idle host costs in bytes that are allocated, counted by the allocator: not a guess from resident memory.
//!
//! A binary of its own, because of the allocator. The hosts are simulated in another process, this same binary, so that
//! only the clients are counted.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail the test as the tests themselves do"
)]

use std::alloc::System;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::time::Duration;

use cap::Cap;
use host_sim::{Farm, FarmOptions, HostSpec, addresses};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use winrm_transport::{Account, AuthMethod, Client, Command, Endpoint, Settings, Trust, TrustStore};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// Clients for the things that are made once: the runtime's, and those of the libraries.
const WARM_UP: usize = 8;
const HOSTS: usize = 32;
const LIMIT: Duration = Duration::from_secs(60);
/// Tells the process of the hosts where to write down where they are.
const FOLDER: &str = "WINRM_TRANSPORT_MEMORY_TEST_FOLDER";

/// Bounds in bytes for each host. What there was to measure when they were set is in docs/benchmarks/winrm.md.
const NEVER_USED: usize = 2_560;
const BESIDE: usize = 768;
const IDLE_HTTP: usize = 5_120;
const IDLE_HTTPS: usize = 14_336;

#[derive(Serialize, Deserialize)]
struct Place {
    address: String,
    http_port: u16,
    https_port: u16,
}

/// The process of the hosts, ended when dropped.
struct Hosts {
    child: Child,
    folder: tempfile::TempDir,
    places: Vec<Place>,
}

impl Hosts {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Process::new(std::env::current_exe().unwrap());
        process.args(["--exact", "the_process_of_the_hosts", "--ignored", "--nocapture"]);
        process.env(FOLDER, folder.path());
        process.stdin(Stdio::piped()).stdout(Stdio::null());
        let child = process.spawn().unwrap();
        let ready = folder.path().join("ready.json");
        for _ in 0..6_000 {
            if ready.exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let places = serde_json::from_slice(&std::fs::read(ready).unwrap()).unwrap();
        Self {
            child,
            folder,
            places,
        }
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "the other half of the test below, which starts it"]
fn the_process_of_the_hosts() {
    #[expect(clippy::disallowed_methods, reason = "how one process tells the other")]
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(serve(Path::new(&folder)));
}

async fn serve(folder: &Path) {
    let specs = addresses::block(WARM_UP + HOSTS).into_iter().enumerate();
    let specs = specs.map(|(index, address)| {
        let mut spec = HostSpec::new(format!("host-{index}"), address, [2, 0, 0, 0, 0, index as u8]).awake();
        spec.certificate_names_address = true;
        spec.own_wake_socket = false;
        spec
    });
    let farm = Farm::start(specs.collect(), FarmOptions::default())
        .await
        .unwrap();
    std::fs::write(folder.join("ca.pem"), farm.ca_pem()).unwrap();
    let places = farm.hosts().iter().map(|host| Place {
        address: host.address().to_string(),
        http_port: host.http_port(),
        https_port: host.https_port().unwrap(),
    });
    let text = serde_json::to_vec(&places.collect::<Vec<_>>()).unwrap();
    std::fs::write(folder.join("ready.part"), text).unwrap();
    std::fs::rename(folder.join("ready.part"), folder.join("ready.json")).unwrap();
    let ended = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    tokio::task::spawn_blocking(ended).await.unwrap().unwrap();
    farm.stop().await;
}

/// Makes clients as a program does that has one account and one trust decision for all hosts.
struct Maker<'a> {
    hosts: &'a Hosts,
    tls: bool,
    account: Account,
    trust: TrustStore,
}

impl<'a> Maker<'a> {
    fn new(hosts: &'a Hosts, tls: bool) -> Self {
        let spec = HostSpec::new("any", [127, 0, 0, 1].into(), [2, 0, 0, 0, 0, 1]);
        Self {
            hosts,
            tls,
            account: Account::parse(&spec.user, spec.password.into()).unwrap(),
            trust: TrustStore::load(&Trust::CaFile(hosts.ca())).unwrap(),
        }
    }

    fn make(&self, from: usize, count: usize) -> Vec<Client> {
        let make = |place: &Place| {
            let endpoint = match self.tls {
                true => Endpoint::https(&place.address, place.https_port),
                false => Endpoint::http(&place.address, place.http_port),
            };
            let mut settings = Settings::new(endpoint, self.account.clone());
            settings.auth = AuthMethod::Ntlm;
            Client::with_trust(settings, &self.trust).unwrap()
        };
        self.hosts.places[from..from + count].iter().map(make).collect()
    }
}

/// One command on each, all at once, so that each has a connection and a shell.
async fn use_all(clients: &[Client]) {
    let mut calls = JoinSet::new();
    for client in clients {
        let client = client.clone();
        calls.spawn(async move {
            let status = Command::new(r"C:\LabStation\LabStation.exe").arg("status-json");
            client.run(&status, LIMIT).await.unwrap().exit_code
        });
    }
    while let Some(code) = calls.join_next().await {
        assert_eq!(code.unwrap(), Some(0));
    }
}

/// Waits for at most `bound` bytes for each host beyond `before`, and gives what there is. What follows a command on the
/// host is done after its answer.
async fn settles(before: usize, bound: usize) -> usize {
    let each = || ALLOCATOR.allocated().saturating_sub(before) / HOSTS;
    for _ in 0..6_000 {
        if each() <= bound {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    each()
}

async fn idle(maker: &Maker<'_>, bound: usize) -> usize {
    let warm = maker.make(0, WARM_UP);
    use_all(&warm).await;
    let after_each = |clients: &[Client]| clients.iter().all(|client| client.stats().requests >= 6);
    for _ in 0..6_000 {
        if after_each(&warm) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let before = ALLOCATOR.allocated();
    let clients = maker.make(WARM_UP, HOSTS);
    use_all(&clients).await;
    let each = settles(before, bound).await;
    let connections: u64 = clients.iter().map(|client| client.stats().connections).sum();
    // All of them open and good for another command.
    use_all(&clients).await;
    let later: u64 = clients.iter().map(|client| client.stats().connections).sum();
    assert_eq!((connections, later), (HOSTS as u64, HOSTS as u64));
    for client in warm.iter().chain(&clients) {
        client.close(LIMIT).await;
    }
    each
}

/// One test, because all of one process share the allocator.
#[tokio::test]
async fn an_idle_host_costs_few_bytes() {
    let hosts = Hosts::start();
    for (tls, bound) in [(false, IDLE_HTTP), (true, IDLE_HTTPS)] {
        let maker = Maker::new(&hosts, tls);
        let mut clients = Vec::with_capacity(HOSTS);
        let mut beside = Vec::with_capacity(HOSTS);
        let before = ALLOCATOR.allocated();
        clients.extend(maker.make(0, HOSTS));
        let never_used = (ALLOCATOR.allocated() - before) / HOSTS;
        assert!(
            never_used <= NEVER_USED,
            "never used, tls {tls}: {never_used} bytes"
        );
        let before = ALLOCATOR.allocated();
        beside.extend(clients.iter().map(Client::beside));
        let second = (ALLOCATOR.allocated() - before) / HOSTS;
        assert!(second <= BESIDE, "a second client, tls {tls}: {second} bytes");
        drop((clients, beside));

        let each = idle(&maker, bound).await;
        assert!(each <= bound, "idle, tls {tls}: {each} bytes");
    }
}
