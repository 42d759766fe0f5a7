//! Prints `docs/metrics.md`.

#[expect(clippy::print_stdout, reason = "the page goes to standard output")]
fn main() {
    print!("{}", ops_runtime::metrics::metrics_guide());
}
