//! The migrations are part of the binary: a new one must build it anew.

#[expect(clippy::print_stdout, reason = "this is how cargo is told")]
fn main() {
    println!("cargo:rerun-if-changed=../migrations");
}
