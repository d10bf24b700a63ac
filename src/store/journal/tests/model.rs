//! Random batches, reopenings and trims, against a plain list of records.

use super::*;

const SEED: u64 = 20_240_214;
const ROUNDS: u64 = 20;
const STEPS: usize = 40;

/// SplitMix64: small, and the same everywhere.
pub(super) struct Seed(pub(super) u64);

impl Seed {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// How many records at most a trim to `durable` may take: those that hold neither an entry that
/// is not durable, nor one that is in no full bundle.
fn spare(records: &[Record], durable: u64) -> usize {
    let size = records.last().map_or(0, |record| record.head.size);
    let from = durable.min(size) / 256 * 256;
    records.iter().take_while(|record| record.head.size <= from).count()
}

#[test]
fn agrees_with_a_list_of_records() {
    let mut removed = 0;
    for round in 0..ROUNDS {
        println!("seed {SEED}, round {round}");
        let mut seed = Seed(SEED ^ round << 32);
        let options = small(2 + seed.below(6));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let mut journal = Journal::create(&path, options).unwrap();
        let mut records: Vec<Record> = Vec::new();
        let mut trimmed = 0;
        for _ in 0..STEPS {
            match seed.below(10) {
                0..=6 => {
                    let count = 1 + seed.below(60) as usize;
                    let lens: Vec<usize> = (0..count).map(|_| seed.below(300) as usize).collect();
                    let next = record(journal.head().size, &lens);
                    // An estimate that is too high does no harm.
                    journal.reserve(framed_len(&next) + seed.below(5000)).unwrap();
                    journal.append(&next).unwrap();
                    records.push(next);
                }
                7 => {
                    let durable = seed.below(journal.head().size + 300);
                    removed += journal.trim(durable).unwrap();
                    let first = journal.first();
                    let gone = records.iter().take_while(|r| r.head.size <= first).count();
                    assert!(gone <= spare(&records, durable).max(trimmed), "kept what is needed");
                    trimmed = gone;
                }
                _ => {
                    drop(journal);
                    let known = seed.below(records.last().map_or(0, |r| r.head.size) + 1);
                    let mut found = Vec::new();
                    journal = Journal::open(&path, known, options, |record| {
                        found.push(record);
                        Ok::<_, StoreError>(())
                    })
                    .unwrap();
                    assert_eq!(found, records[trimmed..]);
                }
            }
            let head = records.last().map_or(TreeHead::EMPTY, |record| record.head);
            assert_eq!(journal.head(), head);
        }
        assert_eq!(replay(&path).unwrap(), (records[trimmed..].to_vec(), None));
    }
    assert!(removed > 20, "{removed} segments were removed");
}
