//! The process of the simulated hosts.

use std::path::PathBuf;

use anyhow::Context as _;
use host_sim::{Farm, FarmOptions, HostSpec, addresses};

use crate::wire::{FarmCounts, FarmReady, HostAddress, PASSWORD, USER};

/// Serves `count` hosts and answers each line on standard input with the counters, until it ends.
pub async fn serve(count: usize, ca_file: PathBuf) -> anyhow::Result<()> {
    let addresses = addresses::block(count);
    anyhow::ensure!(
        addresses.len() == count,
        "only {} loopback addresses are free",
        addresses.len()
    );
    let specs = addresses.into_iter().enumerate().map(|(index, address)| {
        let [.., b, c] = (index as u32).to_be_bytes();
        let mut spec = HostSpec::new(format!("bench-{index:04}"), address, [2, 0, 0, 0, b, c]).awake();
        (spec.user, spec.password) = (USER.to_owned(), PASSWORD.to_owned());
        // A client object with one port serves all hosts.
        (spec.http_port, spec.https_port) = (5985, Some(5986));
        spec.own_wake_socket = false;
        // Clients are given addresses, and all but one verify them.
        spec.certificate_names_address = true;
        spec
    });
    let farm = Farm::start(specs.collect(), FarmOptions::default())
        .await
        .context("start the hosts")?;
    std::fs::write(&ca_file, farm.ca_pem()).context("write the authority")?;
    let hosts = farm.hosts().iter().map(|host| HostAddress {
        address: host.address().to_string(),
        http_port: host.http_port(),
        https_port: host.https_port().unwrap_or(0),
    });
    // Certificates are made when first asked for: not while somebody measures.
    farm.hosts()
        .iter()
        .for_each(|host| drop(host.certificate_sha256()));
    crate::say(&FarmReady {
        hosts: hosts.collect(),
        ca_file,
    })?;
    // Blocks the main thread only: the hosts run on the runtime's own threads.
    for line in std::io::stdin().lines() {
        line?;
        let mut sum = FarmCounts::default();
        for host in farm.hosts() {
            let counts = host.counts();
            sum.connections += counts.connections;
            sum.handshakes += counts.handshakes;
            sum.requests += counts.requests;
            sum.commands += counts.commands;
            sum.open_connections += counts.open_connections;
        }
        crate::say(&sum)?;
    }
    farm.stop().await;
    Ok(())
}
