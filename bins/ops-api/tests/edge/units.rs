//! The units, as systemd's own tools judge them, and the scripts beside them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{DEPLOY, skip};

const UNITS: [&str; 2] = ["ops-api", "ops-scheduler"];
/// Above this, `systemd-analyze security` speaks of a service that is more exposed than these need to be.
const MOST_EXPOSED: f64 = 2.0;

fn unit(name: &str) -> String {
    std::fs::read_to_string(Path::new(DEPLOY).join(format!("systemd/{name}.service"))).unwrap()
}

/// The units in a folder of their own, with programs that exist.
fn laid_out(folder: &Path) -> Vec<PathBuf> {
    UNITS
        .map(|name| {
            let path = folder.join(format!("{name}.service"));
            std::fs::write(
                &path,
                unit(name).replace(&format!("/usr/bin/{name}"), "/bin/true"),
            )
            .unwrap();
            path
        })
        .into()
}

fn analyze(folder: &Path, arguments: &[&str], units: &[PathBuf]) -> Option<(bool, String)> {
    let output = Command::new("systemd-analyze")
        .args(arguments)
        .args(units)
        .env("SYSTEMD_UNIT_PATH", format!("{}:", folder.display()))
        .env("LC_ALL", "C")
        .output();
    let Ok(output) = output else {
        skip("no systemd-analyze (systemd)");
        return None;
    };
    let said = [output.stdout, output.stderr].concat();
    Some((
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    ))
}

#[test]
fn systemd_reads_the_units_without_a_complaint() {
    let folder = tempfile::tempdir().unwrap();
    let units = laid_out(folder.path());
    let Some((well, said)) = analyze(folder.path(), &["verify", "--man=no"], &units) else {
        return;
    };
    let ours = said.lines().filter(|line| line.contains("ops-"));
    assert_eq!(ours.collect::<Vec<_>>(), Vec::<&str>::new());
    assert!(well, "{said}");
}

#[test]
fn the_units_are_about_as_closed_as_a_service_with_a_network_can_be() {
    let folder = tempfile::tempdir().unwrap();
    for unit in laid_out(folder.path()) {
        let arguments = ["security", "--offline=yes", "--no-pager"];
        let Some((_, said)) = analyze(folder.path(), &arguments, std::slice::from_ref(&unit)) else {
            return;
        };
        let overall = said.lines().find(|line| line.contains("Overall exposure level"));
        let overall = overall.unwrap_or_else(|| panic!("{said}"));
        let level: f64 = overall
            .split_once(": ")
            .unwrap()
            .1
            .split(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        assert!(level <= MOST_EXPOSED, "{overall}");
    }
}

#[test]
fn the_units_speak_the_services_own_protocol_and_exit_codes() {
    for name in UNITS {
        let text = unit(name);
        for line in [
            "Type=notify",
            "WatchdogSec=90",
            "ExecReload=/bin/kill -HUP $MAINPID",
            // The name is a living worker's; every other end is worth another try.
            "RestartPreventExitStatus=5",
            "Restart=on-failure",
        ] {
            assert!(text.lines().any(|own| own == line), "{name}: {line}");
        }
        let stop: u64 = text
            .lines()
            .find_map(|line| line.strip_prefix("TimeoutStopSec="))
            .unwrap()
            .parse()
            .unwrap();
        let grace = ops_runtime::Settings::read(&std::collections::BTreeMap::new(), None)
            .unwrap()
            .settings
            .shutdown_grace;
        assert!(
            stop > grace.as_secs() + 10,
            "{name}: leaving and closing take up to ten seconds more"
        );
    }
}
