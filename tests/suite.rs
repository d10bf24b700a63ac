//! Tests of the program's parts through their public interfaces, in one binary.

#[path = "suite/directory.rs"]
mod directory;
#[path = "suite/election.rs"]
mod election;
#[path = "suite/fetch.rs"]
mod fetch;
#[path = "suite/fixture.rs"]
mod fixture;
#[path = "suite/hostile.rs"]
mod hostile;
#[path = "suite/http.rs"]
mod http;
#[path = "suite/http_write.rs"]
mod http_write;
#[path = "suite/kill.rs"]
mod kill;
#[path = "suite/log.rs"]
mod log;
#[path = "suite/oracle.rs"]
mod oracle;
#[path = "suite/recovery.rs"]
mod recovery;
