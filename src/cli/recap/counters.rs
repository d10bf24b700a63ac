//! Rows of counters with their names, for people and for programs.

use std::fmt;

use jejak_proofs::tally::{FIXED_COUNTERS, Id, Status, counter};
use serde_json::{Map, Value, json};

/// Names of the counters after the options, in their order.
pub const FIXED_NAMES: [&str; FIXED_COUNTERS] = [
    "valid",
    "invalid",
    "total",
    "registered",
    "stations",
    "reported",
    "corrected",
    "disputed",
    "unreadable",
];

/// A row of counters with the options that its first ones belong to.
#[derive(Clone, Copy, Debug)]
pub struct Counters<'a> {
    options: &'a [Id],
    row: &'a [u64],
}

impl<'a> Counters<'a> {
    /// A row that has a counter for each option, and the nine of every contest.
    pub fn new(options: &'a [Id], row: &'a [u64]) -> Self {
        debug_assert_eq!(row.len(), options.len() + FIXED_COUNTERS);
        Self { options, row }
    }

    /// Every option with its votes, in the order of the register.
    pub fn votes(self) -> impl Iterator<Item = (&'a Id, u64)> {
        self.options.iter().zip(self.row.iter().copied())
    }

    /// One of the counters after the options, by its place in [`counter`].
    pub fn fixed(self, place: usize) -> u64 {
        self.row[self.options.len() + place]
    }

    /// Stations that reported, of all.
    pub fn coverage(self) -> String {
        let [reported, stations] = [counter::REPORTED, counter::STATIONS].map(|at| self.fixed(at));
        format!("{}/{}", grouped(reported), grouped(stations))
    }

    /// All of them by name.
    pub fn json(self) -> Value {
        let votes: Map<String, Value> =
            self.votes().map(|(option, votes)| (option.to_string(), json!(votes))).collect();
        let fixed = FIXED_NAMES.iter().zip(&self.row[self.options.len()..]);
        let mut all: Map<String, Value> =
            fixed.map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        all.insert("votes".to_owned(), Value::Object(votes));
        Value::Object(all)
    }
}

/// The names of a whole row, as columns of a table have them.
pub fn names(options: &[Id]) -> impl Iterator<Item = String> {
    let votes = options.iter().map(|option| format!("votes.{option}"));
    votes.chain(FIXED_NAMES.iter().map(|name| (*name).to_owned()))
}

/// A status as proofs and people have it.
pub fn status_word(status: Status) -> &'static str {
    match status {
        Status::None => "none",
        Status::Disputed => "disputed",
        Status::Corrected => "corrected",
        Status::Single => "single",
        _ => "unknown",
    }
}

/// A number with a comma between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Columns under each other: the first ones to the left, numbers to the right.
#[derive(Debug)]
pub struct Table {
    left: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table whose first `left` columns are text.
    pub fn new(left: usize) -> Self {
        Self { left, rows: Vec::new() }
    }

    /// Adds a row, as long as the others.
    pub fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |column: usize| {
            self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (number, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let gap = if column == 0 { "" } else { "  " };
                line += &match column < self.left {
                    true => format!("{gap}{cell:<width$}"),
                    false => format!("{gap}{cell:>width$}"),
                };
            }
            let end = if number + 1 == self.rows.len() { "" } else { "\n" };
            write!(f, "{}{end}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in
            [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345, "12,345"), (1_234_567, "1,234,567")]
        {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn a_row_has_its_names() {
        let options: Vec<Id> = ["01", "02"].iter().map(|id| id.parse().unwrap()).collect();
        let row = [5, 6, 11, 1, 12, 300, 4, 3, 2, 1, 0];
        let counters = Counters::new(&options, &row);
        assert_eq!(counters.coverage(), "3/4");
        let json = counters.json();
        assert_eq!(json["votes"], json!({"01": 5, "02": 6}));
        assert_eq!((&json["valid"], &json["unreadable"]), (&json!(11), &json!(0)));
        let names: Vec<String> = names(&options).collect();
        assert_eq!((names.len(), &*names[0], &*names[2]), (row.len(), "votes.01", "valid"));
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(1);
        table.push(vec!["unit".to_owned(), "01".to_owned()]);
        table.push(vec!["3".to_owned(), "1,000".to_owned()]);
        assert_eq!(table.to_string(), "unit     01\n3     1,000");
    }
}
