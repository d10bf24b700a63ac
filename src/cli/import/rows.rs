//! Rows of results: from a table to bodies of tallies.

use std::collections::{BTreeMap, BTreeSet};

use jejak_proofs::{
    merkle::Hash,
    tally::{Ballots, Body, Count, Id, Sexes, Tally, UnitCode, Voters},
};

use super::book::{Run, Terms};

/// A table of results, read and checked.
#[derive(Debug)]
pub struct Sheet {
    rows: Vec<Row>,
}

/// One row: the numbers of one unit.
#[derive(Debug)]
pub struct Row {
    pub unit: UnitCode,
    votes: BTreeMap<Id, Count>,
    valid: Count,
    invalid: Count,
    total: Count,
    registered: Option<Sexes>,
    voters: Option<Voters>,
    ballots: Option<Ballots>,
}

/// Why a table cannot be imported. Lines count from 1.
#[derive(Debug, thiserror::Error)]
pub enum SheetError {
    /// Not a table.
    #[error(transparent)]
    Csv(#[from] csv::Error),
    /// A column that no tally has, or one twice.
    #[error("unknown or doubled column {0}")]
    Column(String),
    /// No `unit` or no `votes.<option>`.
    #[error("the header needs `unit` and at least one `votes.<option>`")]
    Header,
    /// A cell that is neither empty nor a number of 32 bits.
    #[error("line {line}, column {column}: not a number")]
    Number {
        /// The line.
        line: u64,
        /// The column.
        column: String,
    },
    /// Not a unit code.
    #[error("line {line}: not a unit code")]
    Unit {
        /// The line.
        line: u64,
    },
    /// A unit in two rows.
    #[error("line {line}: this unit stands twice")]
    Twice {
        /// The line.
        line: u64,
    },
}

/// Columns beside `unit` and the votes.
const COLUMNS: [&str; 15] = [
    "valid",
    "invalid",
    "total",
    "registered.l",
    "registered.p",
    "voters.dpk.l",
    "voters.dpk.p",
    "voters.dpt.l",
    "voters.dpt.p",
    "voters.dptb.l",
    "voters.dptb.p",
    "ballots.received",
    "ballots.returned",
    "ballots.unused",
    "ballots.used",
];

impl Sheet {
    /// Reads a table with a header; an empty cell or a missing column is null, and a section of
    /// which no column is there is absent.
    pub fn parse(bytes: &[u8]) -> Result<Self, SheetError> {
        let mut reader = csv::Reader::from_reader(bytes);
        let header: Vec<String> = reader.headers()?.iter().map(str::to_owned).collect();
        let votes = check_header(&header)?;
        let mut rows = Vec::new();
        let mut units = BTreeSet::new();
        for record in reader.records() {
            let record = record?;
            let line = record.position().map_or(0, csv::Position::line);
            let mut numbers: BTreeMap<&str, Count> = BTreeMap::new();
            let mut unit = None;
            for (column, cell) in header.iter().zip(&record) {
                if column == "unit" {
                    unit = cell.parse::<UnitCode>().ok();
                } else {
                    let number = count(cell);
                    let error = || SheetError::Number { line, column: column.clone() };
                    numbers.insert(column, number.ok_or_else(error)?);
                }
            }
            let unit = unit.ok_or(SheetError::Unit { line })?;
            if !units.insert(unit.clone()) {
                return Err(SheetError::Twice { line });
            }
            rows.push(Row::new(unit, &votes, &numbers));
        }
        Ok(Self { rows })
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows
    }
}

/// Checks the columns and gives those of the votes.
fn check_header(header: &[String]) -> Result<Vec<(String, Id)>, SheetError> {
    let mut votes = Vec::new();
    for (place, column) in header.iter().enumerate() {
        let error = || SheetError::Column(column.clone());
        if header[..place].contains(column) {
            return Err(error());
        }
        if let Some(option) = column.strip_prefix("votes.") {
            votes.push((column.clone(), option.parse().map_err(|_| error())?));
        } else if column != "unit" && !COLUMNS.contains(&column.as_str()) {
            return Err(error());
        }
    }
    let unit = header.iter().any(|column| column == "unit");
    if unit && !votes.is_empty() { Ok(votes) } else { Err(SheetError::Header) }
}

/// An empty cell is null; `None` is no number.
fn count(cell: &str) -> Option<Count> {
    if cell.is_empty() {
        return Some(None);
    }
    cell.bytes().all(|byte| byte.is_ascii_digit()).then(|| cell.parse().ok()).flatten().map(Some)
}

impl Row {
    fn new(unit: UnitCode, votes: &[(String, Id)], numbers: &BTreeMap<&str, Count>) -> Self {
        let number = |column: &str| numbers.get(column).copied().flatten();
        let section = |name: &str| numbers.keys().any(|column| column.starts_with(name));
        let sexes =
            |list: &str| Sexes { l: number(&format!("{list}.l")), p: number(&format!("{list}.p")) };
        Self {
            votes: votes.iter().map(|(column, id)| (id.clone(), number(column))).collect(),
            valid: number("valid"),
            invalid: number("invalid"),
            total: number("total"),
            registered: section("registered.").then(|| sexes("registered")),
            voters: section("voters.").then(|| Voters {
                dpk: sexes("voters.dpk"),
                dpt: sexes("voters.dpt"),
                dptb: sexes("voters.dptb"),
            }),
            ballots: section("ballots.").then(|| Ballots {
                received: number("ballots.received"),
                returned: number("ballots.returned"),
                unused: number("ballots.unused"),
                used: number("ballots.used"),
            }),
            unit,
        }
    }

    /// The numbers that a recap sums up, by the name of their box.
    pub fn results(&self) -> Vec<(String, Count)> {
        let sums = [("valid", self.valid), ("invalid", self.invalid), ("total", self.total)];
        let votes = self.votes.iter().map(|(option, count)| (format!("votes.{option}"), *count));
        votes.chain(sums.map(|(name, count)| (name.to_owned(), count))).collect()
    }

    /// Everything that the row says about its unit, as text that is equal for equal rows.
    pub fn content(&self) -> String {
        format!(
            "{:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            self.votes,
            self.valid,
            self.invalid,
            self.total,
            self.registered,
            self.voters,
            self.ballots
        )
    }
}

/// A row that is to be logged: first, or as the revision of a head.
#[derive(Debug)]
pub struct Statement<'a> {
    pub row: &'a Row,
    pub seq: u32,
    pub prev: Option<Hash>,
}

impl Statement<'_> {
    /// The body of the tally. The same row under the same terms gives the same bytes.
    pub fn body(&self, terms: &Terms, run: &Run) -> Body {
        let revision = self.seq > 0;
        Body::Tally(Box::new(Tally {
            ballots: self.row.ballots,
            basis: terms.basis.clone(),
            by: terms.key.clone(),
            children: None,
            contest: terms.contest.clone(),
            decision: run.decision.filter(|_| revision),
            docs: Vec::new(),
            election: terms.election.clone(),
            form: terms.form.clone(),
            genesis: terms.genesis,
            invalid: self.row.invalid,
            issued_at: run.issued_at.clone(),
            log: terms.log.as_str().into(),
            prev: self.prev,
            reason: run.reason.filter(|_| revision),
            registered: self.row.registered,
            round: terms.round.clone(),
            seq: self.seq,
            total: self.row.total,
            unit: self.row.unit.clone(),
            valid: self.row.valid,
            voters: self.row.voters,
            votes: self.row.votes.clone(),
        }))
    }
}
