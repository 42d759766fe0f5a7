//! Follows a file that grows, by its offset. Runs against a simulated host.
//!
//! `cargo run -p winrm-transport --example tail_file`

use std::io::Write as _;
use std::time::Duration;

use host_sim::{Farm, FarmOptions, HostSpec, addresses};
use winrm_transport::{Account, Client, Endpoint, Settings};

const LOG: &str = r"C:\Logs\it's 100% today.log";
const LIMIT: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let spec = HostSpec::new("lab-ws-01", addresses::block(1)[0], [2, 0, 0, 0, 0, 1]).awake();
    let farm = Farm::start(vec![spec], FarmOptions::default()).await?;
    let host = &farm.hosts()[0];
    let account = Account::parse(&host.spec().user, host.spec().password.clone().into())?;
    let endpoint = Endpoint::http(host.address().to_string(), host.http_port());
    let client = Client::new(Settings::new(endpoint, account))?;

    let (mut content, mut offset) = (String::new(), 0);
    for day in 1..=3 {
        content.push_str(&format!("entry {day}\r\n"));
        host.write_file(LOG, content.clone());
        let tail = client.tail(LOG, offset, 64 * 1024, LIMIT).await?;
        std::io::stdout().write_all(&tail.bytes)?;
        // A file that became shorter is another file.
        offset = if tail.offset < offset {
            0
        } else {
            tail.next_offset()
        };
    }
    let stat = client.stat(LOG, LIMIT).await?;
    writeln!(std::io::stdout(), "{} bytes in all", stat.length)?;
    client.close(Duration::from_secs(2)).await;
    farm.stop().await;
    Ok(())
}
