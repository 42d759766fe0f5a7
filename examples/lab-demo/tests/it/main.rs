//! The demonstration as whoever tries the project runs it. It judges the day itself, and ends with an error if anything
//! was not as it should be.

#![expect(clippy::print_stdout, reason = "the summary is for whoever runs the tests")]

use std::process::{Command, Stdio};

#[test]
fn the_demo_runs_the_main_job() {
    let demo = Command::new(env!("CARGO_BIN_EXE_lab-demo"))
        // Whether it is punctual is for whoever looks at it: a test machine may have other things to do.
        .args(["--plain", "--slack", "50"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&demo.stdout);
    assert!(
        demo.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&demo.stderr)
    );
    let summary = said.find("A small lab's day").unwrap();
    println!("{}", &said[summary..]);
}
