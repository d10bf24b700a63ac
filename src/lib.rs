//! Jejak: a transparency log for election tallies.
