//! Form rules: boundaries, and a slow reimplementation over random forms.

use jejak_proofs::tally::*;

use super::{rng::Rng, world::*};

const ORDINARY: UnitFacts =
    UnitFacts { registered: NO_FIGURES, station: true, exempt: false, station_max: 300 };
const NO_FIGURES: Sexes = Sexes { l: None, p: None };
const MAX: u32 = u32::MAX;

/// A form with nothing on it.
fn blank() -> Tally {
    Tally {
        ballots: None,
        basis: word("form_signed"),
        by: key_ref(&key(KPPS)),
        children: None,
        contest: id("ppwp"),
        decision: None,
        docs: Vec::new(),
        election: id("id-2024"),
        form: word("c-hasil"),
        genesis: hash(0),
        invalid: None,
        issued_at: "2024-02-14T13:05Z".parse().unwrap(),
        log: ORIGIN.into(),
        prev: None,
        reason: None,
        registered: None,
        round: word("regular"),
        seq: 0,
        total: None,
        unit: code(STATION),
        valid: None,
        voters: None,
        votes: ["01", "02", "03"].map(|option| (id(option), None)).into(),
    }
}

fn with_votes(votes: [Count; 3], valid: Count) -> Tally {
    let mut form = Tally { valid, ..blank() };
    form.votes.values_mut().zip(votes).for_each(|(place, count)| *place = count);
    form
}

fn flags(form: &Tally) -> String {
    check_form(form, &ORDINARY).to_string()
}

fn sexes(l: Count, p: Count) -> Sexes {
    Sexes { l, p }
}

#[test]
fn a1_compares_the_sum_of_all_votes_with_valid() {
    let table = [
        ([Some(1), Some(2), Some(3)], Some(6), ""),
        ([Some(0), Some(0), Some(0)], Some(0), ""),
        ([Some(1), Some(2), None], Some(6), ""),
        ([Some(1), Some(2), Some(3)], None, ""),
        ([Some(1), Some(2), Some(3)], Some(7), "A1,A11"),
        ([Some(11), Some(22), Some(33)], Some(99), "A1"),
        // More than 32 bits hold, and yet not the sum that their low bits show.
        ([Some(MAX), Some(MAX), Some(2)], Some(0), "A1,A7"),
        ([Some(MAX), Some(1), Some(0)], Some(0), "A1,A7"),
        ([Some(MAX), Some(0), Some(0)], Some(MAX), "A7"),
    ];
    for (votes, valid, expected) in table {
        assert_eq!(flags(&with_votes(votes, valid)), expected, "{votes:?} {valid:?}");
    }
}

#[test]
fn a2_compares_valid_and_invalid_with_total() {
    let table = [
        (Some(5), Some(1), Some(6), ""),
        (Some(5), Some(1), Some(7), "A2"),
        (Some(5), Some(1), Some(0), "A2"),
        (None, Some(1), Some(7), ""),
        (Some(5), None, Some(7), ""),
        (Some(5), Some(1), None, ""),
        (Some(MAX), Some(1), Some(0), "A2,A7"),
    ];
    for (valid, invalid, total, expected) in table {
        let form = Tally { valid, invalid, total, ..blank() };
        assert_eq!(flags(&form), expected, "{valid:?} {invalid:?} {total:?}");
    }
}

#[test]
fn a3_compares_the_voters_of_three_lists_with_total() {
    let all = |n| Voters { dpk: sexes(n, n), dpt: sexes(n, n), dptb: sexes(n, n) };
    let form = |voters, total| Tally { voters, total, ..blank() };
    assert_eq!(flags(&form(Some(all(Some(10))), Some(60))), "");
    assert_eq!(flags(&form(Some(all(Some(10))), Some(59))), "A3");
    assert_eq!(flags(&form(Some(all(Some(10))), None)), "");
    assert_eq!(flags(&form(None, Some(59))), "");
    assert_eq!(flags(&form(Some(all(Some(MAX))), Some(MAX - 5))), "A3,A7");
    let lists: [fn(&mut Voters) -> &mut Count; 6] = [
        |v| &mut v.dpk.l,
        |v| &mut v.dpk.p,
        |v| &mut v.dpt.l,
        |v| &mut v.dpt.p,
        |v| &mut v.dptb.l,
        |v| &mut v.dptb.p,
    ];
    for list in lists {
        let mut voters = all(Some(10));
        *list(&mut voters) = None;
        assert_eq!(flags(&form(Some(voters), Some(1))), "", "unreadable is not zero");
        *list(&mut voters) = Some(11);
        assert_eq!(flags(&form(Some(voters), Some(60))), "A3");
        assert_eq!(flags(&form(Some(voters), Some(61))), "");
    }
}

#[test]
fn a4_balances_ballots() {
    let ballots = |received, used, returned, unused| Tally {
        ballots: Some(Ballots { received, returned, unused, used }),
        total: Some(200),
        ..blank()
    };
    let table = [
        (Some(210), Some(200), Some(1), Some(9), ""),
        (Some(210), Some(199), Some(1), Some(9), "A4"),
        (Some(210), Some(199), Some(1), Some(10), "A4"),
        (Some(211), Some(200), Some(1), Some(9), "A4"),
        (Some(210), Some(200), Some(2), Some(9), "A4"),
        (Some(210), Some(200), Some(1), Some(10), "A4"),
        // Each equation stands where its own numbers do.
        (None, Some(199), None, None, "A4"),
        (None, Some(200), Some(1), Some(9), ""),
        (Some(210), None, Some(1), Some(9), ""),
        (Some(211), Some(200), None, Some(9), ""),
        (Some(211), Some(200), Some(1), None, ""),
        (Some(200), Some(200), Some(MAX), Some(1), "A4"),
    ];
    for (received, used, returned, unused, expected) in table {
        let form = ballots(received, used, returned, unused);
        assert_eq!(flags(&form), expected, "{:?}", form.ballots);
    }
    let no_total = Tally { total: None, ..ballots(Some(210), Some(5), Some(1), Some(9)) };
    assert_eq!(flags(&no_total), "A4");
    let no_total = Tally { total: None, ..ballots(None, Some(5), Some(1), Some(9)) };
    assert_eq!(flags(&no_total), "");
}

#[test]
fn a5_compares_each_sex_with_the_forms_own_list() {
    let form = |came: Sexes, listed: Option<Sexes>| Tally {
        voters: Some(Voters { dpk: NO_FIGURES, dpt: came, dptb: NO_FIGURES }),
        registered: listed,
        ..blank()
    };
    let table = [
        (sexes(Some(5), Some(5)), Some(sexes(Some(5), Some(5))), ""),
        (sexes(Some(6), Some(4)), Some(sexes(Some(5), Some(5))), "A5"),
        (sexes(Some(4), Some(6)), Some(sexes(Some(5), Some(5))), "A5"),
        (sexes(None, Some(6)), Some(sexes(Some(5), None)), ""),
        (sexes(Some(6), None), Some(sexes(Some(5), None)), "A5"),
        (sexes(Some(MAX), Some(0)), Some(sexes(Some(MAX), Some(0))), ""),
        (sexes(Some(6), Some(6)), None, ""),
    ];
    for (came, listed, expected) in table {
        assert_eq!(flags(&form(came, listed)), expected, "{came:?} {listed:?}");
    }
    // The register's figures are no part of this rule.
    let facts = UnitFacts { registered: sexes(Some(1), Some(1)), ..ORDINARY };
    assert!(check_form(&form(sexes(Some(6), Some(6)), None), &facts).is_empty());
}

#[test]
fn a6_grants_two_percent_rounded_up() {
    let total = |n| Tally { total: Some(n), ..blank() };
    let facts = |l, p| UnitFacts { registered: sexes(l, p), ..ORDINARY };
    // (registered, the most that passes)
    for (n, most) in
        [(0, 0), (1, 2), (49, 50), (50, 51), (51, 53), (99, 101), (100, 102), (101, 104)]
    {
        for (l, p) in [(n, 0), (0, n), (n / 2, n - n / 2)] {
            let facts = facts(Some(l), Some(p));
            assert_eq!(check_form(&total(most), &facts).to_string(), "", "{n}");
            assert_eq!(check_form(&total(most + 1), &facts).to_string(), "A6", "{n}");
            let exempt = UnitFacts { exempt: true, ..facts };
            assert!(check_form(&total(most + 1), &exempt).is_empty());
        }
    }
    for (l, p) in [(None, Some(1)), (Some(1), None), (None, None)] {
        assert!(check_form(&total(200), &facts(l, p)).is_empty());
    }
    let huge = facts(Some(MAX), Some(MAX));
    assert_eq!(check_form(&total(MAX), &huge).to_string(), "A7");
    assert!(check_form(&blank(), &facts(Some(1), Some(1))).is_empty());
}

#[test]
fn a6_looks_at_the_ballots_received_of_exempt_units_too() {
    let form = |total, received| Tally {
        ballots: Some(Ballots { received, returned: None, unused: None, used: None }),
        total,
        ..blank()
    };
    let exempt = UnitFacts { exempt: true, ..ORDINARY };
    let region = UnitFacts { station: false, ..ORDINARY };
    for facts in [ORDINARY, exempt, region] {
        assert_eq!(check_form(&form(Some(100), Some(100)), &facts).to_string(), "");
        assert_eq!(check_form(&form(Some(101), Some(100)), &facts).to_string(), "A6");
        assert_eq!(check_form(&form(Some(101), None), &facts).to_string(), "");
        assert_eq!(check_form(&form(None, Some(100)), &facts).to_string(), "");
    }
}

#[test]
fn a7_bounds_every_box() {
    let boxes: [fn(&mut Tally, u32); 4] = [
        |form, n| *form.votes.get_mut("02").unwrap() = Some(n),
        |form, n| form.valid = Some(n),
        |form, n| form.invalid = Some(n),
        |form, n| form.total = Some(n),
    ];
    let exempt = UnitFacts { exempt: true, ..ORDINARY };
    let region = UnitFacts { station: false, ..ORDINARY };
    let wide = UnitFacts { station_max: 5_000, ..ORDINARY };
    for write in boxes {
        for (n, facts, expected) in [
            (300, ORDINARY, ""),
            (301, ORDINARY, "A7"),
            (999, exempt, ""),
            (1000, exempt, "A7"),
            (999, wide, ""),
            (1000, wide, "A7"),
            (MAX, region, ""),
            (1, UnitFacts { station_max: 0, ..ORDINARY }, "A7"),
        ] {
            let mut form = blank();
            write(&mut form, n);
            assert_eq!(check_form(&form, &facts).to_string(), expected, "{n}");
        }
    }
    // Voters and ballots are no part of it.
    let figures = sexes(Some(500), Some(0));
    let voters = Some(Voters { dpk: figures, dpt: figures, dptb: figures });
    assert_eq!(flags(&Tally { voters, ..blank() }), "");
}

#[test]
fn a11_names_the_box_and_what_it_would_have_to_say() {
    type Row = ([u32; 3], u32, &'static [(&'static str, u32, u32)]);
    let table: [Row; 13] = [
        // First, middle and last digit of one box; no other can be repaired alike.
        ([110, 20, 35], 65, &[("votes.01", 110, 10), ("valid", 65, 165)]),
        (
            [45, 20, 30],
            85,
            &[("votes.01", 45, 35), ("votes.02", 20, 10), ("votes.03", 30, 20), ("valid", 85, 95)],
        ),
        (
            [7, 0, 0],
            9,
            &[("votes.01", 7, 9), ("votes.02", 0, 2), ("votes.03", 0, 2), ("valid", 9, 7)],
        ),
        // Leading zeros are digits: 0 may have been 100, 9 may have been 109.
        (
            [0, 10, 9],
            119,
            &[
                ("votes.01", 0, 100),
                ("votes.02", 10, 110),
                ("votes.03", 9, 109),
                ("valid", 119, 19),
            ],
        ),
        // A carry changes two digits.
        ([99, 0, 0], 100, &[("votes.02", 0, 1), ("votes.03", 0, 1)]),
        ([19, 99, 199], 320, &[]),
        // The valid box alone, because no vote can shrink below zero.
        (
            [1, 1, 1],
            2,
            &[("votes.01", 1, 0), ("votes.02", 1, 0), ("votes.03", 1, 0), ("valid", 2, 3)],
        ),
        (
            [0, 0, 0],
            5,
            &[("votes.01", 0, 5), ("votes.02", 0, 5), ("votes.03", 0, 5), ("valid", 5, 0)],
        ),
        ([0, 0, 5], 0, &[("votes.03", 5, 0), ("valid", 0, 5)]),
        // Three boxes hold no fourth digit, four do.
        ([999, 0, 0], 1999, &[("valid", 1999, 999)]),
        ([1999, 0, 0], 999, &[("votes.01", 1999, 999)]),
        // Nothing to repair.
        ([1, 2, 3], 6, &[]),
        ([MAX, MAX, MAX], 0, &[]),
    ];
    for (votes, valid, expected) in table {
        let form = with_votes(votes.map(Some), Some(valid));
        let repairs = one_digit_repairs(&form);
        let found: Vec<_> = repairs.iter().map(|r| (&*r.field, r.written, r.repaired)).collect();
        assert_eq!(found, expected, "{votes:?} {valid}");
        let wrong = votes.iter().map(|n| u64::from(*n)).sum::<u64>() != u64::from(valid);
        let flags = check_form(&form, &ORDINARY);
        assert_eq!(flags.contains(FormRule::A1), wrong);
        assert_eq!(flags.contains(FormRule::A11), wrong && !expected.is_empty());
    }
    assert!(one_digit_repairs(&with_votes([Some(1), None, Some(1)], Some(3))).is_empty());
    assert!(one_digit_repairs(&with_votes([Some(1); 3], None)).is_empty());
}

#[test]
fn rules_have_ids_and_severities() {
    let shown = FormRule::ALL.map(|rule| (rule.id(), rule.severity()));
    use Severity::{High, Info, Medium};
    let expected = [
        ("A1", High),
        ("A2", High),
        ("A3", High),
        ("A4", Medium),
        ("A5", Medium),
        ("A6", High),
        ("A7", High),
        ("A11", Info),
    ];
    assert_eq!(shown, expected);
    assert!(Info < Medium && Medium < High && High < Severity::Critical);
    assert_eq!(Flags::default().to_string(), "");
}

/// The rules once more, slowly: with signed wide integers, and A11 by trying every digit.
mod slow {
    use super::*;

    fn all(numbers: &[Count]) -> Option<i128> {
        numbers.iter().map(|n| n.map(i128::from)).sum()
    }

    fn unequal(left: Option<i128>, right: Option<i128>) -> bool {
        left.is_some() && right.is_some() && left != right
    }

    pub fn flags(form: &Tally, facts: &UnitFacts) -> String {
        let votes: Vec<Count> = form.votes.values().copied().collect();
        let total = all(&[form.total]);
        let a1 = unequal(all(&votes), all(&[form.valid]));
        let (mut a3, mut a4, mut a5) = (false, false, false);
        if let Some(Voters { dpk, dpt, dptb }) = form.voters {
            a3 = unequal(all(&[dpk.l, dpk.p, dpt.l, dpt.p, dptb.l, dptb.p]), total);
            if let Some(list) = form.registered {
                let over = |a: Count, b: Count| a.zip(b).is_some_and(|(a, b)| a > b);
                a5 = over(dpt.l, list.l) || over(dpt.p, list.p);
            }
        }
        let mut limits = Vec::new();
        if let Some(Ballots { received, returned, unused, used }) = form.ballots {
            a4 = unequal(all(&[used]), total)
                || unequal(all(&[used, returned, unused]), all(&[received]));
            limits.extend(all(&[received]));
        }
        if !facts.exempt {
            let registered = all(&[facts.registered.l, facts.registered.p]);
            limits.extend(registered.map(|n| (102 * n + 99) / 100));
        }
        let a6 = total.is_some_and(|total| limits.iter().any(|limit| total > *limit));
        let boxes = [&votes[..], &[form.valid, form.invalid, form.total]].concat();
        let over = |n: u32| n > 999 || (!facts.exempt && n > facts.station_max);
        let rules = [
            ("A1", a1),
            ("A2", unequal(all(&[form.valid, form.invalid]), total)),
            ("A3", a3),
            ("A4", a4),
            ("A5", a5),
            ("A6", a6),
            ("A7", facts.station && boxes.into_iter().flatten().any(over)),
            ("A11", a1 && !repairs(form).is_empty()),
        ];
        let broken: Vec<_> =
            rules.iter().filter(|(_, broken)| *broken).map(|(id, _)| *id).collect();
        broken.join(",")
    }

    /// Every number that differs from `n` in one digit of its box.
    fn misread(n: u32) -> Vec<u32> {
        let box_of_n = format!("{n:03}");
        let mut all = Vec::new();
        for place in 0..box_of_n.len() {
            for digit in '0'..='9' {
                let mut text = box_of_n.clone();
                text.replace_range(place..=place, digit.encode_utf8(&mut [0; 4]));
                if text != box_of_n {
                    all.extend(text.parse::<u32>());
                }
            }
        }
        all
    }

    pub fn repairs(form: &Tally) -> Vec<(String, u32, u32)> {
        let holds = |form: &Tally| {
            let votes: Vec<Count> = form.votes.values().copied().collect();
            all(&votes).is_some() && all(&votes) == all(&[form.valid])
        };
        let mut found = Vec::new();
        if holds(form) {
            return found;
        }
        for (option, written) in &form.votes {
            for repaired in written.map(misread).unwrap_or_default() {
                let mut form = form.clone();
                form.votes.insert(option.clone(), Some(repaired));
                if holds(&form) {
                    found.push((format!("votes.{option}"), written.unwrap(), repaired));
                }
            }
        }
        for repaired in form.valid.map(misread).unwrap_or_default() {
            if holds(&Tally { valid: Some(repaired), ..form.clone() }) {
                found.push(("valid".into(), form.valid.unwrap(), repaired));
            }
        }
        found
    }
}

/// A form that mostly adds up, with a few numbers unreadable, misread or wild.
fn random_form(rng: &mut Rng) -> Tally {
    fn noise(rng: &mut Rng, n: u32) -> Count {
        match rng.below(24) {
            0 => None,
            1 => Some(n + 1),
            2 => Some(n.saturating_sub(10)),
            3 => Some(n + 100),
            4 => Some([0, 999, 1000, MAX - 1, MAX][rng.below(5) as usize]),
            _ => Some(n),
        }
    }
    let votes = [(); 3].map(|()| rng.below(110) as u32);
    let valid: u32 = votes.iter().sum();
    let invalid = rng.below(9) as u32;
    let total = valid + invalid;
    let men = rng.below(u64::from(total) + 1) as u32;
    let mut form = with_votes(votes.map(|n| noise(rng, n)), noise(rng, valid));
    (form.invalid, form.total) = (noise(rng, invalid), noise(rng, total));
    if !rng.one_in(4) {
        let dpt = sexes(noise(rng, men), noise(rng, total - men));
        let (dpk, dptb) = (sexes(noise(rng, 0), Some(0)), sexes(Some(0), noise(rng, 0)));
        form.voters = Some(Voters { dpk, dpt, dptb });
    }
    if !rng.one_in(4) {
        form.registered = Some(sexes(noise(rng, men), noise(rng, total - men)));
    }
    if !rng.one_in(4) {
        let ballots = [total + 5, 2, 3, total].map(|n| noise(rng, n));
        let [received, returned, unused, used] = ballots;
        form.ballots = Some(Ballots { received, returned, unused, used });
    }
    form
}

#[test]
fn twenty_thousand_random_forms_are_judged_alike() {
    let mut rng = Rng::new(0x0f0f);
    let mut seen = std::collections::BTreeMap::<&str, u32>::new();
    for round in 0..20_000 {
        let form = random_form(&mut rng);
        let registered = form.total.unwrap_or(100).min(400);
        let facts = UnitFacts {
            registered: sexes(
                (!rng.one_in(9)).then(|| registered.saturating_sub(rng.below(6) as u32)),
                Some(0),
            ),
            station: !rng.one_in(8),
            exempt: rng.one_in(4),
            station_max: *rng.pick(&[300, 250, 1200]),
        };
        let flags = check_form(&form, &facts);
        assert_eq!(
            flags.to_string(),
            slow::flags(&form, &facts),
            "form {round}: {form:?} {facts:?}"
        );
        let found: Vec<_> = one_digit_repairs(&form)
            .into_iter()
            .map(|repair| (repair.field, repair.written, repair.repaired))
            .collect();
        assert_eq!(found, slow::repairs(&form), "form {round}: {form:?}");
        flags.iter().for_each(|rule| *seen.entry(rule.id()).or_default() += 1);
        *seen.entry("none").or_default() += u32::from(flags.is_empty());
    }
    println!("{seen:?}");
    assert!(seen.len() == 9 && seen.values().all(|count| *count > 200), "{seen:?}");
}
