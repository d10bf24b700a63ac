//! The boxes of a form, and where two hands have written different numbers into them.

use jejak_proofs::tally::{
    Contest, Count, FormRule, Id, Reason, Tally, UnitFacts, Word, check_counts,
};

use super::finding::{FieldNumbers, Side};

/// Sums that stand behind the votes: valid, invalid, total.
pub(super) const SUMS: usize = 3;

/// The boxes that decide something, in the order in which a ledger keeps their numbers.
pub(super) fn boxes(contest: &Contest) -> Vec<String> {
    names(contest.options.iter())
}

fn names<'a>(options: impl Iterator<Item = &'a Id>) -> Vec<String> {
    let sums = ["valid", "invalid", "total"].map(str::to_owned);
    options.map(|option| format!("votes.{option}")).chain(sums).collect()
}

/// The numbers of a tally, each with the name of its box.
pub(super) fn of_tally(tally: &Tally) -> Vec<(String, Count)> {
    let sums = [tally.valid, tally.invalid, tally.total];
    let numbers = tally.votes.values().copied().chain(sums);
    names(tally.votes.keys()).into_iter().zip(numbers).collect()
}

/// Every box in which both have a number, and not the same.
pub(super) fn differences(
    boxes: &[String],
    ours: (Side, &[Option<u64>]),
    theirs: (Side, &[Option<u64>]),
) -> Vec<FieldNumbers> {
    let pairs = boxes.iter().zip(ours.1.iter().zip(theirs.1));
    let differ = pairs.filter(|(_, (a, b))| a.zip(**b).is_some_and(|(a, b)| a != b));
    differ
        .map(|(field, (a, b))| FieldNumbers {
            field: field.clone(),
            numbers: vec![(ours.0, *a), (theirs.0, *b)],
        })
        .collect()
}

/// The numbers of forms, wide enough to stand beside sums.
pub(super) fn wide(counts: &[Count]) -> Vec<Option<u64>> {
    counts.iter().map(|count| count.map(u64::from)).collect()
}

/// What a revision changed.
pub(super) fn changes(old: &Tally, new: &Tally) -> Vec<FieldNumbers> {
    let before = of_tally(old);
    let change = |(field, now): (String, Count)| {
        let was = before.iter().find(|(known, _)| *known == field)?.1;
        let numbers = vec![(Side::Old, was.map(u64::from)), (Side::New, now.map(u64::from))];
        (was != now).then_some(FieldNumbers { field, numbers })
    };
    of_tally(new).into_iter().filter_map(change).collect()
}

/// What a change adds to a sum, in which a null counts as zero: never more than 32 bits either way.
pub(super) fn net(change: &FieldNumbers) -> i64 {
    let of = |side| {
        let number = change.numbers.iter().find(|(of, _)| *of == side).and_then(|(_, n)| *n);
        number.and_then(|number| i64::try_from(number).ok()).unwrap_or(0)
    };
    of(Side::New) - of(Side::Old)
}

/// The boxes in which a form breaks a rule.
pub(super) fn of_rule(rule: FormRule, tally: &Tally) -> Vec<FieldNumbers> {
    let wanted = |field: &str| match rule {
        FormRule::A1 | FormRule::A11 => field.starts_with("votes.") || field == "valid",
        FormRule::A2 => !field.starts_with("votes."),
        FormRule::A7 => true,
        _ => field == "total",
    };
    let numbers = of_tally(tally).into_iter().filter(|(field, _)| wanted(field));
    numbers
        .map(|(field, number)| FieldNumbers {
            field,
            numbers: vec![(Side::Written, number.map(u64::from))],
        })
        .collect()
}

/// Whether the numbers of one side fit each other, by A1 and A2.
pub(super) fn self_consistency(counts: &[Count], facts: &UnitFacts) -> &'static str {
    let flags = check_counts(counts, facts);
    match (flags.contains(FormRule::A1), flags.contains(FormRule::A2)) {
        (true, true) => "breaks A1 and A2",
        (true, false) => "breaks A1",
        (false, true) => "breaks A2",
        (false, false) if counts.iter().any(Option::is_none) => "cannot be checked whole",
        (false, false) => "adds up",
    }
}

/// Whether no vote stands in a tally: every number that there is is zero.
pub(super) fn is_empty(tally: &Tally) -> bool {
    of_tally(tally).iter().all(|(_, number)| number.unwrap_or(0) == 0)
}

/// How a tally came about, as far as two of them can contradict each other by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// A machine read the form.
    Machine,
    /// The form is signed, or its correction initialled.
    Form,
}

impl Reading {
    pub fn of(basis: &Word) -> Option<Self> {
        match basis.as_str() {
            "machine_reading" => Some(Self::Machine),
            "form_signed" | "renvoi" => Some(Self::Form),
            _ => None,
        }
    }

    pub const fn side(self) -> Side {
        match self {
            Self::Machine => Side::Machine,
            Self::Form => Side::Form,
        }
    }

    pub const fn other(self) -> Self {
        match self {
            Self::Machine => Self::Form,
            Self::Form => Self::Machine,
        }
    }
}

/// Whether the reason of a revision stands above what was declared before: the ballots were cast
/// anew, or a court decided.
pub(super) const fn overrules(reason: Option<Reason>) -> bool {
    matches!(reason, Some(Reason::Psu | Reason::Court))
}
