//! Tests of the program's parts through their public interfaces, in one binary.

#[path = "suite/monitor.rs"]
mod monitor;
