//! Arithmetic rules of the form. They never refuse: 6 % of real forms break one. They flag.

use alloc::{format, string::String, vec::Vec};
use core::fmt;

use super::statement::{Count, Sexes, Tally};

/// No box of a form holds a number above this, at any station.
pub const FORM_NUMBER_MAX: u32 = 999;

/// An arithmetic rule of the form. It is checked only where every number in it is readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FormRule {
    /// A1: the votes add up to `valid`.
    A1,
    /// A2: `valid` + `invalid` = `total`.
    A2,
    /// A3: `total` = voters from all three lists, both sexes.
    A3,
    /// A4: ballots used = `total`; received = used + returned + unused.
    A4,
    /// A5: voters from the register are not more than registered, per sex.
    A5,
    /// A6: `total` is at most the ballots received, and at most 1.02 x registered, rounded up.
    A6,
    /// A7: no number over the station maximum, and none over [`FORM_NUMBER_MAX`] anywhere.
    A7,
    /// A11: A1 fails, and one digit of one number would repair it.
    A11,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Severity {
    /// Explains; needs nothing.
    Info,
    /// Worth a look.
    Medium,
    /// Needs an official explanation.
    High,
    /// Proof of misconduct: publish at once.
    Critical,
}

impl FormRule {
    /// All rules, in the order in which flags list them.
    pub const ALL: [Self; 8] =
        [Self::A1, Self::A2, Self::A3, Self::A4, Self::A5, Self::A6, Self::A7, Self::A11];

    /// The id of the rule, as flags and findings print it.
    pub const fn id(self) -> &'static str {
        match self {
            Self::A1 => "A1",
            Self::A2 => "A2",
            Self::A3 => "A3",
            Self::A4 => "A4",
            Self::A5 => "A5",
            Self::A6 => "A6",
            Self::A7 => "A7",
            Self::A11 => "A11",
        }
    }

    /// How much a broken rule matters.
    pub const fn severity(self) -> Severity {
        match self {
            Self::A1 | Self::A2 | Self::A3 | Self::A6 | Self::A7 => Severity::High,
            Self::A4 | Self::A5 => Severity::Medium,
            Self::A11 => Severity::Info,
        }
    }
}

/// The set of rules that a form breaks. Shown as `A1,A11`; nothing for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u16);

impl Flags {
    /// Whether no rule is broken.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `rule` is broken.
    pub fn contains(self, rule: FormRule) -> bool {
        self.0 & (1 << rule as u16) != 0
    }

    /// The rules that are broken in either.
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The broken rules, in the order of [`FormRule::ALL`].
    pub fn iter(self) -> impl Iterator<Item = FormRule> {
        FormRule::ALL.into_iter().filter(move |rule| self.contains(*rule))
    }

    fn raise(&mut self, rule: FormRule, broken: bool) {
        self.0 |= u16::from(broken) << rule as u16;
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, rule) in self.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(f, "{comma}{}", rule.id())?;
        }
        Ok(())
    }
}

/// What the manifest and the register in force say about the unit of a form.
#[derive(Clone, Copy, Debug)]
pub struct UnitFacts {
    /// Registered voters; both null for a region.
    pub registered: Sexes,
    /// Whether the unit is a polling station.
    pub station: bool,
    /// Whether its kind is exempt from the limits of A6 and A7 that follow from the register.
    pub exempt: bool,
    /// The largest plausible number at an ordinary station.
    pub station_max: u32,
}

/// Which rules the form breaks. One function serves flags, findings and reports.
pub fn check_form(tally: &Tally, unit: &UnitFacts) -> Flags {
    let sums = [tally.valid, tally.invalid, tally.total];
    let counts: Vec<Count> = tally.votes.values().copied().chain(sums).collect();
    let mut flags = check_counts(&counts, unit);
    flags.raise(FormRule::A3, differs(voters(tally), tally.total));
    flags.raise(FormRule::A4, ballots_do_not_balance(tally));
    flags.raise(FormRule::A5, more_voters_than_registered(tally));
    flags.raise(FormRule::A6, more_votes_than_ballots(tally));
    let repairable = flags.contains(FormRule::A1) && !one_digit_repairs(tally).is_empty();
    flags.raise(FormRule::A11, repairable);
    flags
}

/// The rules that need no more than the numbers which the head of a chain keeps (votes, valid,
/// invalid, total): A1, A2, A7, and A6 as far as the register decides it.
pub fn check_counts(counts: &[Count], unit: &UnitFacts) -> Flags {
    let mut flags = Flags::default();
    let Some((votes, [valid, invalid, total])) = counts.split_last_chunk() else { return flags };
    flags.raise(FormRule::A1, differs(sum(votes), *valid));
    flags.raise(FormRule::A2, differs(sum([valid, invalid]), *total));
    flags.raise(FormRule::A6, more_votes_than_registered(*total, unit));
    flags.raise(FormRule::A7, implausible_number(counts, unit));
    flags
}

fn sum<'a>(counts: impl IntoIterator<Item = &'a Count>) -> Option<u64> {
    counts.into_iter().try_fold(0, |sum, count| Some(sum + u64::from((*count)?)))
}

/// Whether both numbers are there and differ.
fn differs(computed: Option<u64>, written: Count) -> bool {
    matches!((computed, written), (Some(a), Some(b)) if a != u64::from(b))
}

fn voters(tally: &Tally) -> Option<u64> {
    let voters = tally.voters?;
    Some(voters.dpt.sum()? + voters.dptb.sum()? + voters.dpk.sum()?)
}

fn ballots_do_not_balance(tally: &Tally) -> bool {
    let Some(ballots) = tally.ballots else { return false };
    let accounted = sum([&ballots.used, &ballots.returned, &ballots.unused]);
    differs(ballots.used.map(u64::from), tally.total) || differs(accounted, ballots.received)
}

fn more_voters_than_registered(tally: &Tally) -> bool {
    let (Some(voters), Some(registered)) = (tally.voters, tally.registered) else { return false };
    let more = |came: Count, listed: Count| matches!((came, listed), (Some(a), Some(b)) if a > b);
    more(voters.dpt.l, registered.l) || more(voters.dpt.p, registered.p)
}

fn more_votes_than_ballots(tally: &Tally) -> bool {
    let received = tally.ballots.and_then(|ballots| ballots.received);
    matches!((tally.total, received), (Some(total), Some(received)) if total > received)
}

fn more_votes_than_registered(total: Count, unit: &UnitFacts) -> bool {
    // ceil(1.02 n) in integers: the law grants a reserve of 2 % of the registered voters.
    let limit = unit.registered.sum().filter(|_| !unit.exempt).map(|n| (102 * n).div_ceil(100));
    matches!((total, limit), (Some(total), Some(limit)) if u64::from(total) > limit)
}

fn implausible_number(counts: &[Count], unit: &UnitFacts) -> bool {
    let limit = if unit.exempt { FORM_NUMBER_MAX } else { unit.station_max.min(FORM_NUMBER_MAX) };
    unit.station && counts.iter().flatten().any(|number| *number > limit)
}

/// One number of which one digit, written otherwise, would make the votes add up to `valid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The box: `votes.<option>` or `valid`.
    pub field: String,
    /// What the form says.
    pub written: u32,
    /// What it would have to say.
    pub repaired: u32,
}

/// Every one-digit change that makes A1 hold, in the order of the boxes. Boxes have three digits,
/// with leading zeros, or as many as the number needs.
pub fn one_digit_repairs(tally: &Tally) -> Vec<Repair> {
    let (Some(votes), Some(valid)) = (sum(tally.votes.values()), tally.valid) else {
        return Vec::new();
    };
    let excess = i128::from(votes) - i128::from(valid);
    let boxes = tally.votes.iter().map(|(option, count)| (format!("votes.{option}"), *count, -1));
    let boxes = boxes.chain([(String::from("valid"), tally.valid, 1)]);
    boxes
        .filter_map(|(field, written, sign)| {
            let written = written?;
            let repaired = u32::try_from(i128::from(written) + sign * excess).ok()?;
            one_digit_apart(written, repaired).then_some(Repair { field, written, repaired })
        })
        .collect()
}

fn one_digit_apart(written: u32, repaired: u32) -> bool {
    let width = written.max(100).ilog10();
    if repaired.max(1).ilog10() > width {
        return false;
    }
    let digit = |number: u32, place: u32| number / 10_u32.pow(place) % 10;
    (0..=width).filter(|place| digit(written, *place) != digit(repaired, *place)).count() == 1
}
