//! Shows output as it comes. Runs against a simulated host; point `Settings` at a real one for more.
//!
//! `cargo run -p winrm-transport --example stream_output`

use std::io::Write as _;
use std::time::Duration;

use host_sim::{Farm, FarmOptions, HostSpec, Program, Step, addresses};
use winrm_transport::{Account, Client, Command, Endpoint, Settings, Stream, TextDecoder};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut spec = HostSpec::new("lab-ws-01", addresses::block(1)[0], [2, 0, 0, 0, 0, 1]).awake();
    let line = |n: u32| {
        [
            Step::Out(format!("line {n}\r\n").into()),
            Step::Pause(Duration::from_millis(300)),
        ]
    };
    spec.station.programs = vec![Program::new(
        "report.exe",
        (1..=5).flat_map(line).collect::<Vec<_>>(),
    )];
    let farm = Farm::start(vec![spec], FarmOptions::default()).await?;
    let host = &farm.hosts()[0];

    let account = Account::parse(&host.spec().user, host.spec().password.clone().into())?;
    let endpoint = Endpoint::http(host.address().to_string(), host.http_port());
    let client = Client::new(Settings::new(endpoint, account))?;
    let mut running = client
        .start(&Command::new("report.exe"), Duration::from_secs(30))
        .await?;
    let (mut out, mut err) = (TextDecoder::default(), TextDecoder::default());
    while let Some(chunk) = running.next().await {
        match chunk.stream {
            Stream::Stdout => write!(std::io::stdout(), "{}", out.push(&chunk.bytes))?,
            Stream::Stderr => write!(std::io::stderr(), "{}", err.push(&chunk.bytes))?,
        }
    }
    writeln!(
        std::io::stdout(),
        "exit code {:?}",
        running.exit().await?.exit_code
    )?;
    client.close(Duration::from_secs(2)).await;
    farm.stop().await;
    Ok(())
}
