//! Tests of audits and exports, in one binary.

#[path = "suite/audit_log.rs"]
mod audit_log;
#[path = "suite/export.rs"]
mod export;
#[path = "suite/fsck.rs"]
mod fsck;
