//! Asks a thousand simulated hosts at once, with a progress bar.
//!
//! `cargo run -p winrm-transport --example thousand_hosts -- [hosts]`; a thousand need about 5,000 file descriptors.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use host_sim::{Farm, FarmOptions, HostSpec, SimHost, addresses};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use winrm_transport::{Account, Client, Command, Endpoint, Error, Settings};

/// Hosts spoken to at the same moment: the rest would only wait in the network instead of here.
const AT_ONCE: usize = 256;
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: u16 = std::env::args().nth(1).map_or(Ok(1_000), |text| text.parse())?;
    let farm = Farm::start(specs(count), FarmOptions::default()).await?;
    let bar = ProgressBar::new(count.into());
    bar.set_style(ProgressStyle::with_template(
        "{bar:40} {pos}/{len} hosts, {per_sec}, {msg}",
    )?);
    let begun = Instant::now();
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut calls = JoinSet::new();
    for host in farm.hosts() {
        let (client, places) = (client(host)?, places.clone());
        calls.spawn(async move {
            let _place = places.acquire_owned().await;
            ask(&client).await
        });
    }
    let (mut answered, mut failed) = (0_u32, 0_u32);
    while let Some(done) = calls.join_next().await {
        match done? {
            Ok(()) => answered += 1,
            Err(error) => {
                failed += 1;
                bar.println(error.to_string());
            }
        }
        bar.set_message(format!("{failed} failed"));
        bar.inc(1);
    }
    bar.finish();
    let left: u64 = farm.hosts().iter().map(|host| host.counts().open_shells).sum();
    writeln!(
        std::io::stdout(),
        "{answered} hosts answered, {failed} did not, in {:?}; shells left: {left}",
        begun.elapsed()
    )?;
    farm.stop().await;
    Ok(())
}

fn specs(count: u16) -> Vec<HostSpec> {
    let addresses = addresses::block(count.into());
    let spec = |(n, address)| {
        let [high, low] = u16::to_be_bytes(n);
        let mut spec = HostSpec::new(format!("lab-{n:04}"), address, [2, 0, 0, 0, high, low]).awake();
        (spec.own_wake_socket, spec.https_port) = (false, None);
        spec
    };
    (0..count).zip(addresses).map(spec).collect()
}

fn client(host: &SimHost) -> Result<Client, Box<dyn std::error::Error>> {
    let account = Account::parse(&host.spec().user, host.spec().password.clone().into())?;
    let endpoint = Endpoint::http(host.address().to_string(), host.http_port());
    Ok(Client::new(Settings::new(endpoint, account))?)
}

async fn ask(client: &Client) -> Result<(), Error> {
    let command = Command::new(host_sim::paths::PROGRAM).arg("status-json");
    let result = client.run(&command, LIMIT).await;
    client.close(Duration::from_secs(5)).await;
    result.map(drop)
}
