//! Days that once broke a promise are lived through again.
//!
//! A file has the seed, perhaps a line `faults Crash,Pause` before it for a day with just these faults, and what was
//! wrong as a comment.

use std::fs;
use std::path::Path;

use lab_days::{FaultKind, Options, Swarm, run_day};

/// How bad each fault of a kept day is: as with `--faults`.
const INTENSITY: u32 = 3;

fn read(text: &str) -> Option<(u64, Options)> {
    let mut lines = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    let mut line = lines.next()?;
    let mut options = Options::default();
    if let Some(names) = line.strip_prefix("faults ") {
        let kinds: Result<Vec<FaultKind>, _> = names.split(',').map(str::parse).collect();
        let kinds: Vec<_> = kinds.ok()?.into_iter().map(|kind| (kind, INTENSITY)).collect();
        options.swarm = Some(Swarm::of(&kinds));
        line = lines.next()?;
    }
    Some((line.trim().parse().ok()?, options))
}

#[test]
fn kept_seeds_keep_every_promise() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let (mut days, mut broken) = (0, Vec::new());
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "seed") {
            continue;
        }
        let kept = read(&fs::read_to_string(&path).unwrap());
        let (seed, options) = kept.unwrap_or_else(|| panic!("{}: no seed", path.display()));
        let day = run_day(seed, &options).unwrap();
        days += 1;
        broken.extend(
            day.violations
                .iter()
                .map(|violation| format!("seed {seed}: {violation}")),
        );
    }
    assert!(days > 0, "no day was kept");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
