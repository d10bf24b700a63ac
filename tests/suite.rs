//! Tests of the program's parts through their public interfaces, in one binary.

#[path = "suite/agent.rs"]
mod agent;
#[path = "suite/audit_log.rs"]
mod audit_log;
#[path = "suite/cosign.rs"]
mod cosign;
#[path = "suite/demo.rs"]
mod demo;
#[path = "suite/directory.rs"]
mod directory;
#[path = "suite/election.rs"]
mod election;
#[path = "suite/evidence.rs"]
mod evidence;
#[path = "suite/export.rs"]
mod export;
#[path = "suite/fake_witness.rs"]
mod fake_witness;
#[path = "suite/fetch.rs"]
mod fetch;
#[path = "suite/fixture.rs"]
mod fixture;
#[path = "suite/fsck.rs"]
mod fsck;
#[path = "suite/go.rs"]
mod go;
#[path = "suite/hostile.rs"]
mod hostile;
#[path = "suite/http.rs"]
mod http;
#[path = "suite/http_write.rs"]
mod http_write;
#[path = "suite/import.rs"]
mod import;
#[path = "suite/kill.rs"]
mod kill;
#[path = "suite/log.rs"]
mod log;
#[path = "suite/mirror.rs"]
mod mirror;
#[path = "suite/monitor.rs"]
mod monitor;
#[path = "suite/officer.rs"]
mod officer;
#[path = "suite/oracle.rs"]
mod oracle;
#[path = "suite/pq.rs"]
mod pq;
#[path = "suite/program.rs"]
mod program;
#[path = "suite/province.rs"]
mod province;
#[path = "suite/python.rs"]
mod python;
#[path = "suite/read_only.rs"]
mod read_only;
#[path = "suite/readme.rs"]
mod readme;
#[path = "suite/recap_cli.rs"]
mod recap_cli;
#[path = "suite/recovery.rs"]
mod recovery;
#[path = "suite/sealed.rs"]
mod sealed;
#[path = "suite/signed_refusals.rs"]
mod signed_refusals;
#[path = "suite/spec.rs"]
mod spec;
#[path = "suite/spec_cli.rs"]
mod spec_cli;
#[path = "suite/spec_entries.rs"]
mod spec_entries;
#[path = "suite/spec_evidence.rs"]
mod spec_evidence;
#[path = "suite/spec_example.rs"]
mod spec_example;
#[path = "suite/spec_fields.rs"]
mod spec_fields;
#[path = "suite/spec_http.rs"]
mod spec_http;
#[path = "suite/spec_notes.rs"]
mod spec_notes;
#[path = "suite/spec_proofs.rs"]
mod spec_proofs;
#[path = "suite/spec_recap.rs"]
mod spec_recap;
#[path = "suite/spec_rules.rs"]
mod spec_rules;
#[path = "suite/spec_states.rs"]
mod spec_states;
#[path = "suite/spec_world.rs"]
mod spec_world;
#[path = "suite/succession.rs"]
mod succession;
#[path = "suite/tidy.rs"]
mod tidy;
#[path = "suite/upgrade.rs"]
mod upgrade;
#[path = "suite/verify.rs"]
mod verify;
#[path = "suite/witness.rs"]
mod witness;
#[path = "suite/witnessed.rs"]
mod witnessed;
