//! The migrations are part of the binary: a new one must build it anew.

fn main() {
    println!("cargo:rerun-if-changed=../migrations");
}
