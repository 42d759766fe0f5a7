//! Every declared step, in every kind of operation in which it occurs, at every moment at which it can be hit.
//!
//! A step or a kind that is added does not build here until somebody says where it occurs and what it is worth.

mod case;
mod hit;
mod verdict;

use std::collections::BTreeMap;
use std::time::Duration;

use case::Case;
use hit::Hit;

/// How long it takes until another copy comes: at once, when the lease is nearly over, and long after.
const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_secs(5), Duration::from_hours(1)];

#[tokio::test(start_paused = true)]
async fn every_step_survives_every_moment_at_which_it_can_be_hit() {
    let mut table: BTreeMap<String, BTreeMap<&str, usize>> = BTreeMap::new();
    let mut runs = 0;
    let mut broken = Vec::new();
    for case in Case::all() {
        for hit in Hit::ALL {
            for pause in hit.pauses(&PAUSES) {
                let told = format!("{case} {} after {} s", hit.name(), pause.as_secs());
                let lab = hit::live(&case, hit, *pause).await;
                if let Err(wrong) = verdict::judge(&case, hit, *pause, &lab).await {
                    broken.push(format!("{told}: {wrong}"));
                }
                *table
                    .entry(case.to_string())
                    .or_default()
                    .entry(hit.name())
                    .or_insert(0) += 1;
                runs += 1;
            }
        }
    }
    print(&table);
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    // Three that fail or run twice, six at which the process dies, each with three pauses.
    assert_eq!(runs, Case::all().len() * (3 + 6 * PAUSES.len()));
}

/// Shows what was covered: how many runs for each step and moment.
#[expect(clippy::print_stdout, reason = "the table is part of the evidence")]
fn print(table: &BTreeMap<String, BTreeMap<&str, usize>>) {
    print!("{:<24}", "");
    for hit in Hit::ALL {
        print!("{:>16}", hit.name());
    }
    println!();
    for (case, row) in table {
        print!("{case:<24}");
        for hit in Hit::ALL {
            print!("{:>16}", row.get(hit.name()).copied().unwrap_or(0));
        }
        println!();
    }
}
