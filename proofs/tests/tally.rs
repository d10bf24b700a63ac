//! The tally side: entries, registers, mandates, form rules and the ledger, against tables of
//! everything that is refused, slow reimplementations, and random histories against a model.
//!
//! `world` makes a small election of thirty units and submits to its ledger: whatever is refused
//! there must leave the ledger as it was.

mod tally {
    mod breaches;
    mod canonical;
    mod chains;
    mod false_refusals;
    mod form;
    mod generated;
    mod histories;
    mod lines;
    mod mandates;
    mod model;
    mod moves;
    mod recap;
    mod recap_bytes;
    mod recap_model;
    mod recap_proofs;
    mod recap_spelling;
    mod refusals;
    mod registers;
    mod revocations;
    mod rng;
    mod snapshots;
    mod states;
    mod succession;
    mod world;
}
