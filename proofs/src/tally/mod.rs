//! Entries, the registers, mandates, form rules and the ledger.
