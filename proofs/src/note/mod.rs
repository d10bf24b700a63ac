//! C2SP signed notes: keys, checkpoints, policies, receipts.
