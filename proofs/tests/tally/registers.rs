//! The two register files: one spelling, and every line that differs named with its reason.

use jejak_proofs::merkle::sha256;
use jejak_proofs::tally::*;

use super::{rng::Rng, world::*};
use RegisterErrorKind as Kind;

/// A register of these lines below the header.
fn lines(lines: &[&str]) -> Vec<u8> {
    let mut text = format!("{UNIT_HEADER}\n");
    lines.iter().for_each(|line| text.push_str(&format!("{line}\n")));
    text.into_bytes()
}

fn error(bytes: &[u8]) -> RegisterError {
    let parsed = UnitRegister::parse(bytes);
    parsed.map(|units| units.len()).expect_err(&String::from_utf8_lossy(bytes))
}

fn at(line: usize, kind: Kind) -> RegisterError {
    RegisterError { line, kind }
}

fn no(place: Option<usize>, kind: Kind) -> SpellError {
    SpellError { place, kind }
}

const TOP: &str = "ID,,nation,Indonesia,,";

#[test]
fn the_small_election_is_spelled_as_expected() {
    let text = UnitRegister::spell(&units()).unwrap();
    let head = "unit,parent,kind,name,registered.l,registered.p\n\
        ID,,nation,The nation,,\n\
        31,ID,province,The province,,\n\
        3101,31,regency,The regency,,\n\
        310101,3101,district,The district,,\n\
        310101.001,310101,tps,,100,110\n";
    assert!(text.starts_with(head));
    assert!(text.ends_with("320101.004,320101,tps,,100,110\n320101.K1,320101,ksk,,100,110\n"));
    let register = UnitRegister::parse(text.as_bytes()).unwrap();
    assert_eq!(register.len(), 30);
    assert_eq!(register.sha256(), sha256(text.as_bytes()));
    assert_eq!(register.bytes(), text.as_bytes());
    assert_eq!(
        register.kinds(),
        words(&["nation", "province", "regency", "district", "tps", "ksk"])
    );
    assert!(!register.is_empty());
}

/// Every accessor against the list that the register was made from.
#[test]
fn slots_answer_as_the_units_say() {
    let mut units = units();
    units.reverse();
    units[3].registered = Sexes { l: None, p: Some(u32::MAX) };
    units.iter_mut().for_each(|unit| {
        if unit.code.as_str() == "3102" {
            unit.name = "Kota \u{c9}lok, bagian 2".into();
        }
    });
    let register = unit_register(&units);
    for unit in &units {
        let slot = register.slot(unit.code.as_str()).unwrap();
        assert_eq!(register.code(slot), unit.code.as_str());
        assert_eq!(register.name(slot), unit.name);
        assert_eq!(register.kind(slot), &unit.kind);
        assert_eq!(register.registered(slot), unit.registered);
        let parent = register.parent(slot).map(|slot| register.code(slot));
        assert_eq!(parent, unit.parent.as_ref().map(UnitCode::as_str));
        // The subtree is whoever has this unit among the units above it, or is it.
        for other in &units {
            let mut above = Some(other);
            while above.is_some_and(|above| above.code != unit.code) {
                let parent = above.unwrap().parent.as_ref();
                above = parent.and_then(|code| units.iter().find(|unit| unit.code == *code));
            }
            let inside =
                register.subtree(slot).contains(&register.slot(other.code.as_str()).unwrap());
            assert_eq!(inside, above.is_some(), "{} in {}", other.code, unit.code);
        }
    }
    for unknown in ["", "I", "IDX", "310101.005", "310101.0", "ZZ"] {
        assert_eq!(register.slot(unknown), None);
    }
}

/// Random trees in random order: one spelling, whatever the order they come in.
#[test]
fn spelling_and_reading_are_inverse() {
    let mut rng = Rng::new(0x5e11);
    for _ in 0..300 {
        let mut all = vec![unit("T", "", "nation")];
        for n in 0..rng.below(40) {
            let parent = rng.pick(&all).code.clone();
            // Codes that do not nest by prefix: order comes from the tree alone.
            let code = format!("{}{n}", ["A", "Z", "0", ".", "-"][rng.below(5) as usize]);
            let mut child = unit(&code, parent.as_str(), "district");
            child.name =
                ["", "Desa", "a,b", ",", "\u{e9}, 12345", " "][rng.below(6) as usize].into();
            child.registered.l = (!rng.one_in(3)).then(|| rng.next() as u32);
            all.push(child);
        }
        let text = UnitRegister::spell(&all).unwrap();
        for place in (1..all.len()).rev() {
            all.swap(place, rng.below(place as u64 + 1) as usize);
        }
        assert_eq!(UnitRegister::spell(&all).unwrap(), text);
        let register = UnitRegister::parse(text.as_bytes()).unwrap();
        let read = |slot| Unit {
            code: code(register.code(slot)),
            parent: register.parent(slot).map(|slot| code(register.code(slot))),
            kind: register.kind(slot).clone(),
            name: register.name(slot).into(),
            registered: register.registered(slot),
        };
        let mut back: Vec<Unit> = (0..register.len() as Slot).map(read).collect();
        // Depth first: every parent stands before its children, siblings ascend.
        for pair in back.windows(2).filter(|pair| pair[0].parent == pair[1].parent) {
            assert!(pair[0].code < pair[1].code);
        }
        back.sort_by(|a, b| a.code.cmp(&b.code));
        all.sort_by(|a, b| a.code.cmp(&b.code));
        assert_eq!(back, all);
    }
}

#[test]
fn encoding_and_header() {
    assert_eq!(error(b""), at(1, Kind::Header));
    assert_eq!(error(b"\n"), at(1, Kind::Header));
    assert_eq!(error(&[0xff, b'\n']), at(1, Kind::Encoding));
    assert_eq!(error(&[UNIT_HEADER.as_bytes(), &[0xc3, b'\n']].concat()), at(1, Kind::Encoding));
    let good = String::from_utf8(lines(&[TOP])).unwrap();
    assert!(UnitRegister::parse(good.as_bytes()).is_ok());
    let altered = [
        good.trim_end().to_string(),
        good.replace('\n', "\r\n"),
        format!("\u{feff}{good}"),
        good.to_uppercase(),
        good.replacen(',', ";", 1),
        good.replacen("unit,", "unit, ", 1),
        good.replacen("registered.p", "registered.p,", 1),
        format!("{TOP}\n"),
    ];
    for text in altered {
        assert_eq!(error(text.as_bytes()), at(1, Kind::Header), "{text:?}");
    }
    assert_eq!(error(&lines(&[])), at(2, Kind::Root));
}

#[test]
fn sixty_four_mebibytes_are_read_and_no_more() {
    // One region below the other, in lines of one length.
    let mut text = lines(&[TOP]);
    let line = |n: usize| format!("{n:032},ID,district,{:>64},,\n", "x");
    let mut n = 0;
    while text.len() + 2 * line(0).len() <= REGISTER_LEN_MAX {
        text.extend_from_slice(line(n).as_bytes());
        n += 1;
    }
    let room = REGISTER_LEN_MAX - text.len();
    let short = "Z,ID,district,,,\n";
    let mut last = line(n);
    while last.len() + short.len() > room {
        last = last.replacen(" ", "", 1);
    }
    let pad = room - last.len() - short.len();
    assert!(pad <= 64, "{pad}");
    text.extend_from_slice(last.as_bytes());
    text.extend_from_slice(short.replace(",,,", &format!(",{},,", "x".repeat(pad))).as_bytes());
    assert_eq!(text.len(), REGISTER_LEN_MAX);
    assert_eq!(UnitRegister::parse(&text).unwrap().len(), n + 3);
    text.pop();
    text.extend_from_slice(b"1\n");
    assert_eq!(error(&text), at(1, Kind::Encoding));
    assert_eq!(ContestRegister::parse(&text).unwrap_err(), at(1, Kind::Encoding));
}

#[test]
fn every_field_has_one_spelling() {
    let bad = [
        "",
        ",",
        "31,ID,province,Jakarta,",
        "31,ID,province,Jakarta,,,",
        "31,ID,province",
        "31,ID,province,A,B,,",
        "31,ID,province,\"Jakarta\",,",
        "31,ID,province,\"A,B,,",
        "31,ID,province,A,B\",,",
        "31,ID,province,\",,",
        "31,ID,province,\"\",,",
        "31,ID,province,Jakarta,+1,",
        "31,ID,province,Jakarta,01,",
        "31,ID,province,Jakarta,-1,",
        "31,ID,province,Jakarta,1.0,",
        "31,ID,province,Jakarta, 1,",
        "31,ID,province,Jakarta,1, ",
        "31,ID,province,Jakarta,,4294967296",
        "31,ID,province,Jakarta,,x",
        "31,ID,Province,Jakarta,,",
        "31,ID,,Jakarta,,",
        "31,ID,province ,Jakarta,,",
        ",ID,province,Jakarta,,",
        "a,ID,province,Jakarta,,",
        " 31,ID,province,Jakarta,,",
        "\"31\",ID,province,Jakarta,,",
        "123456789012345678901234567890123,ID,province,Jakarta,,",
        "31,ID,province,Jakarta,,\r",
    ];
    for line in bad {
        assert_eq!(error(&lines(&[TOP, line])), at(3, Kind::Fields), "{line:?}");
    }
    let good = [
        "31,ID,province,\"A,B\",,",
        "31,ID,province,\",\",,",
        "31,ID,province,,0,4294967295",
        "31,ID,province, x ,,",
        "12345678901234567890123456789012,ID,province,Jakarta,,",
    ];
    for line in good {
        assert!(UnitRegister::parse(&lines(&[TOP, line])).is_ok(), "{line:?}");
    }
}

#[test]
fn names_are_plain_and_hold_no_long_numbers() {
    let name =
        |name: &str| UnitRegister::parse(&lines(&[TOP, &format!("31,ID,province,{name},,")]));
    let digits = "1".repeat(NAME_DIGITS_MAX);
    let (accented, arabic) = ("\u{e9}".repeat(64), "\u{661}".repeat(NAME_DIGITS_MAX));
    let separate = format!("{digits} {digits}a1");
    let good = ["x".repeat(64), accented, arabic, separate, digits.clone()];
    for text in good {
        assert!(name(&text).is_ok(), "{text}");
    }
    let bad = [
        "x".repeat(65),
        "\u{e9}".repeat(65),
        "123456".into(),
        format!("RT {digits}0"),
        "3173011005115001".into(),
        // Digits of other scripts are digits.
        "\u{660}\u{661}\u{662}\u{663}\u{664}\u{665}".into(),
        "123\u{664}\u{665}\u{666}".into(),
        "a\u{7f}".into(),
        "a\u{85}b".into(),
        "a\tb".into(),
        "a\0".into(),
        "the \"old\" town".into(),
        "\"a\"\"b,c\"".into(),
        // Marks that turn the line around, or do not show.
        "a\u{202e}b".into(),
        "a\u{2028}b".into(),
        "\u{feff}a".into(),
        "a\u{200b}b".into(),
    ];
    for text in bad {
        assert_eq!(name(&text).unwrap_err(), at(3, Kind::Name), "{text:?}");
    }
    let mut units = units();
    units[2].name = "123456".into();
    assert_eq!(UnitRegister::spell(&units).unwrap_err(), no(Some(2), Kind::Name));
}

#[test]
fn units_stand_depth_first_and_ascend() {
    let refused: [(&[&str], usize, Kind); 15] = [
        // No top, two of them, and a top that hangs below another unit.
        (&["31,ID,province,,,"], 2, Kind::Root),
        (&[TOP, "31,,province,,,"], 3, Kind::Root),
        (&[TOP, "31,ID,province,,,", "32,,province,,,"], 4, Kind::Root),
        (&["ID,ID,nation,,,"], 2, Kind::Root),
        // Unknown parents, later parents, and parents that are done.
        (&[TOP, "31,XX,province,,,"], 3, Kind::Order),
        (&[TOP, "3101,31,regency,,,", "31,ID,province,,,"], 3, Kind::Order),
        (&[TOP, "31,31,province,,,"], 3, Kind::Order),
        (&[TOP, "31,ID,a,,,", "32,ID,a,,,", "3101,31,b,,,"], 5, Kind::Order),
        // Breadth first is another order.
        (&[TOP, "31,ID,a,,,", "32,ID,a,,,", "3201,32,b,,,", "3101,31,b,,,"], 6, Kind::Order),
        // Siblings that descend, with and without children between them, or stand twice.
        (&[TOP, "32,ID,a,,,", "31,ID,a,,,"], 4, Kind::Order),
        (&[TOP, "32,ID,a,,,", "3201,32,b,,,", "31,ID,a,,,"], 5, Kind::Order),
        (&[TOP, "31,ID,a,,,", "31,ID,a,,,"], 4, Kind::Order),
        // The same code in another place, above or beside.
        (&[TOP, "31,ID,a,,,", "ID,31,b,,,"], 5, Kind::Twice),
        (&[TOP, "31,ID,a,,,", "X,31,b,,,", "32,ID,a,,,", "X,32,b,,,"], 7, Kind::Twice),
        (&[TOP, "31,ID,a,,,", "31,31,b,,,"], 5, Kind::Twice),
    ];
    for (list, line, kind) in refused {
        assert_eq!(error(&lines(list)), at(line, kind), "{list:?}");
    }
    // Order is bytewise: punctuation, digits, letters; a prefix first.
    let good = [TOP, "-,ID,a,,,", ".,ID,a,,,", "0,ID,a,,,", "00,ID,a,,,", "9,ID,a,,,", "A,ID,a,,,"];
    assert_eq!(UnitRegister::parse(&lines(&good)).unwrap().len(), 7);
    let deep: Vec<String> = (1..5000).map(|n| format!("D{n},D{},a,,,", n - 1)).collect();
    let deep: Vec<&str> = ["D0,,a,,,"].into_iter().chain(deep.iter().map(|line| &**line)).collect();
    let register = UnitRegister::parse(&lines(&deep)).unwrap();
    assert_eq!(register.subtree(register.slot("D4000").unwrap()), 4000..5000);
}

#[test]
fn a_register_has_at_most_256_kinds() {
    let mut units = vec![unit("T", "", "k-top")];
    units.extend((0..256).map(|n| unit(&format!("{n:03}"), "T", &format!("k{n}"))));
    // The place is that of the input, whatever the order of the register.
    units.reverse();
    assert_eq!(UnitRegister::spell(&units).unwrap_err(), no(Some(0), Kind::Fields));
    units.reverse();
    units.pop();
    let register = unit_register(&units);
    assert_eq!(register.kinds().len(), 256);
    assert_eq!(register.kind(register.slot("254").unwrap()), &word("k254"));
}

#[test]
fn what_is_no_tree_is_not_spelled() {
    let spell = |extra: &[Unit]| UnitRegister::spell(&[units(), extra.to_vec()].concat());
    assert!(spell(&[]).is_ok());
    assert_eq!(units().len(), 30);
    let table: [(&[Unit], usize, Kind); 8] = [
        (&[unit("A", "", "province")], 30, Kind::Root),
        (&[unit("31", "ID", "province")], 30, Kind::Twice),
        (&[unit("X", "Y", "province")], 30, Kind::Order),
        (&[unit("X", "", "province")], 30, Kind::Root),
        (&[unit("X", "X", "province")], 30, Kind::Order),
        (&[unit("X", "Y", "a"), unit("Y", "X", "a")], 30, Kind::Order),
        (&[unit("X", "ID", "a"), unit("Y", "Z", "a"), unit("Z", "Y", "a")], 31, Kind::Order),
        (&[unit("X", "Z", "a"), unit("Y", "X", "a"), unit("Z", "Y", "a")], 30, Kind::Order),
    ];
    for (extra, place, kind) in table {
        assert_eq!(spell(extra).unwrap_err(), no(Some(place), kind), "{extra:?}");
    }
    assert_eq!(UnitRegister::spell(&[]).unwrap_err(), no(None, Kind::Root));
    assert_eq!(UnitRegister::spell(&[unit("X", "X", "a")]).unwrap_err(), no(None, Kind::Root));
    assert!(UnitRegister::spell(&[unit("X", "", "a")]).is_ok());
}

/// Every altered byte of a good register is refused, or gives another register with another hash.
#[test]
fn no_two_spellings_of_one_register() {
    let text = UnitRegister::spell(&units()).unwrap();
    let rows = |register: &UnitRegister| {
        let row = |slot| {
            let place = (register.code(slot).to_string(), register.parent(slot));
            let kind = register.kind(slot).to_string();
            (place, kind, register.name(slot).to_string(), register.registered(slot))
        };
        (0..register.len() as Slot).map(row).collect::<Vec<_>>()
    };
    let good = UnitRegister::parse(text.as_bytes()).unwrap();
    for place in 0..text.len() {
        for byte in [b' ', b'"', b'0', b',', b'\n', b'\r', b'A'] {
            let mut altered = text.clone().into_bytes();
            altered[place] = byte;
            if altered == text.as_bytes() {
                continue;
            }
            if let Ok(register) = UnitRegister::parse(&altered) {
                assert_ne!(register.sha256(), good.sha256());
                assert_ne!(rows(&register), rows(&good));
            }
        }
    }
}

#[test]
fn contests_are_canonical_lines_in_order() {
    let text = ContestRegister::spell(&contests()).unwrap();
    let expected = "{\"id\":\"dpd\",\"options\":[\"a\",\"b\"],\"scope\":[\"ID\"]}\n\
        {\"id\":\"dpr:3101\",\"options\":[\"P1\",\"P2\"],\"scope\":[\"3101\"]}\n\
        {\"id\":\"ppwp\",\"options\":[\"01\",\"02\",\"03\"],\"scope\":[\"ID\"]}\n";
    assert_eq!(text, expected);
    let register = ContestRegister::parse(text.as_bytes()).unwrap();
    assert_eq!((register.contests(), register.bytes()), (&contests()[..], text.as_bytes()));
    assert_eq!(register.sha256(), sha256(text.as_bytes()));
    let found = register.find("dpr:3101").map(|(place, contest)| (place, contest.clone()));
    assert_eq!(found, Some((1, contests()[1].clone())));
    assert_eq!(register.find("dpr"), None);
    // Any order in, one out; options stay as on the ballot.
    let mut shuffled = contests();
    shuffled.reverse();
    shuffled[0].scope = codes(&["32", "31"]);
    shuffled[0].options.reverse();
    let again = ContestRegister::spell(&shuffled).unwrap();
    assert!(again.ends_with("\"options\":[\"03\",\"02\",\"01\"],\"scope\":[\"31\",\"32\"]}\n"));
    assert!(again.starts_with("{\"id\":\"dpd\""));
}

#[test]
fn every_other_contest_line_is_refused() {
    let first = "{\"id\":\"b\",\"options\":[\"1\",\"2\"],\"scope\":[\"31\",\"32\"]}";
    let parse = |lines: &[&str]| {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        ContestRegister::parse(text.as_bytes()).map(|register| register.contests().len())
    };
    assert_eq!(parse(&[first]), Ok(1));
    let bad = [
        "",
        "{}",
        "null",
        "{\"id\":\"b\",\"options\":[\"1\"],\"scope\":[\"31\"]}",
        "{\"id\":\"a\",\"options\":[\"1\"],\"scope\":[\"31\"]}",
        "{\"id\":\"c\",\"options\":[],\"scope\":[\"31\"]}",
        "{\"id\":\"c\",\"options\":[\"1\",\"1\"],\"scope\":[\"31\"]}",
        "{\"id\":\"c\",\"options\":[\"1\"],\"scope\":[]}",
        "{\"id\":\"c\",\"options\":[\"1\"],\"scope\":[\"32\",\"31\"]}",
        "{\"id\":\"c\",\"options\":[\"1\"],\"scope\":[\"31\",\"31\"]}",
        "{\"id\":\"c\",\"options\":[\"1\"],\"scope\":[\"id\"]}",
        "{\"id\":\"c_\",\"options\":[\"1\"],\"scope\":[\"31\"]}",
        "{\"id\":\"c\",\"options\":[\"1 2\"],\"scope\":[\"31\"]}",
        "{\"id\":\"c\",\"options\":[\"1\"]}",
        "{\"id\":\"c\",\"options\":[\"1\"],\"scope\":[\"31\"],\"title\":\"x\"}",
        "{\"options\":[\"1\"],\"id\":\"c\",\"scope\":[\"31\"]}",
        "{\"id\":\"c\",\"id\":\"c\",\"options\":[\"1\"],\"scope\":[\"31\"]}",
        "{\"id\":\"c\", \"options\":[\"1\"],\"scope\":[\"31\"]}",
        "{\"id\":\"\\u0063\",\"options\":[\"1\"],\"scope\":[\"31\"]}",
        "[\"c\",[\"1\"],[\"31\"]]",
        " {\"id\":\"c\",\"options\":[\"1\"],\"scope\":[\"31\"]}",
        "{\"id\":\"c\",\"options\":[\"1\"],\"scope\":[\"31\"]}\r",
    ];
    for line in bad {
        assert_eq!(parse(&[first, line]), Err(at(2, Kind::Contest)), "{line}");
    }
    assert_eq!(parse(&[]), Err(at(1, Kind::Contest)));
    let unended = ContestRegister::parse(first.as_bytes()).unwrap_err();
    assert_eq!(unended, at(1, Kind::Header));
    for contests in [
        vec![],
        vec![contest("a", &["1"], &["31"]); 2],
        vec![contest("a", &[], &["31"])],
        vec![contest("a", &["1", "1"], &["31"])],
        vec![contest("a", &["1"], &[])],
        vec![contest("a", &["1"], &["31", "31"])],
    ] {
        let error = ContestRegister::spell(&contests).unwrap_err();
        assert_eq!(error, no(contests.len().checked_sub(1), Kind::Contest), "{contests:?}");
    }
    let many = |n: usize| Contest {
        options: (0..n).map(|n| id(&n.to_string())).collect(),
        ..contest("a", &[], &["31"])
    };
    assert!(ContestRegister::spell(&[many(OPTIONS_MAX)]).is_ok());
    assert!(ContestRegister::spell(&[many(OPTIONS_MAX + 1)]).is_err());
}
