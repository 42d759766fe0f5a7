//! Prints the page `docs/settings.md` from the table the program reads.

#[expect(clippy::print_stdout, reason = "its output is the page")]
fn main() {
    print!("{}", ops_runtime::settings::settings_guide());
}
