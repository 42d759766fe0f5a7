//! Runs one command and shows what it wrote.
//!
//! `WINRM_PASSWORD=... cargo run -p winrm-transport --example run_command -- lab-ws-01 '.\operator' ca.pem hostname`
//!
//! A host without an entry in DNS is `name=address`: its certificate is verified by the name.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use winrm_transport::{Account, Client, Command, Effect, Endpoint, Settings, Trust};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let (Some(host), Some(user), Some(ca), Some(program)) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err("usage: run_command <host> <user> <ca file> <program> [argument ...]".into());
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "an example has no settings; a password is no argument"
    )]
    let password = std::env::var("WINRM_PASSWORD")?;
    let account = Account::parse(&user, password.into())?;
    let (name, address) = host.split_once('=').unwrap_or((&host, &host));
    let mut settings = Settings::new(Endpoint::https(address, 5986), account);
    settings.server_name = Some(name.to_owned());
    settings.trust = Trust::CaFile(PathBuf::from(ca));
    let client = Client::new(settings)?;

    let command = Command::new(program).args(words);
    match client.run(&command, Duration::from_secs(60)).await {
        Ok(output) => {
            std::io::stdout().write_all(&output.stdout)?;
            std::io::stderr().write_all(&output.stderr)?;
            writeln!(
                std::io::stderr(),
                "exit code {:?} after {:?}",
                output.exit_code,
                output.duration
            )?;
        }
        Err(error) if error.effect() == Effect::Unknown => {
            writeln!(
                std::io::stderr(),
                "look at the host before you repeat it: {error}"
            )?;
        }
        Err(error) => writeln!(std::io::stderr(), "it did not run: {error}")?,
    }
    client.close(Duration::from_secs(2)).await;
    Ok(())
}
