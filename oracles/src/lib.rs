//! Tests of `jejak-proofs` against implementations by others live in `tests/`.
