//! The `jejak` command.

fn main() {}
