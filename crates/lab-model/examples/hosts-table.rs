//! Prints the table of keys of `docs/hosts.md` from the table the program reads.

#[expect(clippy::print_stdout, reason = "its output is the table")]
fn main() {
    print!("{}", lab_model::catalog_table());
}
