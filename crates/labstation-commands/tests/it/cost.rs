//! What reading a document costs. Run by hand: `cargo test --release -p labstation-commands -- --ignored cost --nocapture`.

#![expect(clippy::print_stdout, reason = "the figures are what this is for")]

use std::hint::black_box;

use labstation_commands::{parse_heartbeat, parse_heartbeat_document};
use tokio::time::Instant;

const HEARTBEAT: &[u8] = include_bytes!("../data/heartbeat.json");
const ROUNDS: u32 = 100;
const BATCHES: u32 = 500;

#[test]
#[ignore = "takes time; the figures are read by people"]
fn cost_of_a_heartbeat() {
    let time = |what: &str, run: &dyn Fn()| {
        // The best of many: what else the machine does is not the document's cost.
        let best = (0..BATCHES).map(|_| {
            let begun = Instant::now();
            (0..ROUNDS).for_each(|_| run());
            begun.elapsed() / ROUNDS
        });
        println!("{what}: {:?} each", best.min().unwrap_or_default());
    };
    println!("{} bytes", HEARTBEAT.len());
    time("parse_heartbeat_document", &|| {
        black_box(parse_heartbeat_document(black_box(HEARTBEAT)).unwrap());
    });
    time("parse_heartbeat and a second parse of the text", &|| {
        let heartbeat = parse_heartbeat(black_box(HEARTBEAT)).unwrap();
        let text = String::from_utf8_lossy(&HEARTBEAT[3..]).into_owned();
        let strict: Result<serde::de::IgnoredAny, _> = serde_json::from_str(&text);
        black_box((heartbeat, strict.is_ok(), text));
    });
    time("serde_json::Value alone", &|| {
        black_box(serde_json::from_slice::<serde_json::Value>(black_box(&HEARTBEAT[3..])).unwrap());
    });
}
