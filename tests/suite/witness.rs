//! The witness, as the program that people run, against everything that C2SP tlog-witness says.

#[path = "witness/conformance.rs"]
mod conformance;
#[path = "witness/durable.rs"]
mod durable;
#[path = "witness/history.rs"]
mod history;
#[path = "witness/judging.rs"]
mod judging;
#[path = "witness/keeping.rs"]
mod keeping;
#[path = "witness/place.rs"]
pub mod place;
#[path = "witness/race.rs"]
mod race;
#[path = "witness/recount.rs"]
mod recount;
