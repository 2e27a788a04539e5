//! Rebuilds the binary when a migration is added: the compiler only watches those that it has embedded before.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
