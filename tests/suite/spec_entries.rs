//! Rules of SPEC.md on entries, registers and forms, through the public interface of the judge.

use jejak_proofs::{
    merkle::{leaf_hash, sha256},
    note::{KeyKind, SigningKey, compose},
    tally::{
        Ballots, Body, ContestRegister, Doc, Entry, FORM_NUMBER_MAX, FormRule, LogKey, Manifest,
        Media, Reason, Sexes, Tally, UnitFacts, UnitRegister, Voters, check_form, from_canonical,
        to_canonical,
    },
};
use serde_json::{Value, json};

use super::{
    spec_example::Example,
    spec_world::{
        OBSERVER, OFFICER, ROOTS, World, by, code, contest, contests, id, key, log_key, mandated,
        manifest, named, other_key, spell, tally, unit, units, vkey, words,
    },
};

fn parse(entry: &str) -> &'static str {
    Entry::parse(entry.as_bytes()).map_or_else(|refusal| refusal.code(), |_| "ok")
}

// SPEC [E1]
type Change<'a> = &'a dyn Fn(&mut Tally);
type FormChange<'a> = &'a dyn Fn(&mut Tally, &mut UnitFacts);

#[test]
fn an_entry_has_at_most_65535_bytes() {
    let example = Example::new();
    let [_, _, entry] = &example.entries;
    // Whatever the bytes say: length is judged first.
    let padded = |len: usize| format!("{entry}{}", " ".repeat(len - entry.len()));
    assert_eq!(parse(&padded(65_535)), "malformed");
    assert_eq!(parse(&padded(65_536)), "too_large");
}

// SPEC [E2]
#[test]
fn the_text_is_two_lines() {
    let key = key(OFFICER);
    let body = tally(World::new().opening(OFFICER, "31.1"));
    let text = body.text();
    let (_, json) = text.split_once('\n').unwrap();
    let signed = |text: &str| compose(text, &[key.sign_line(text)]);
    assert_eq!(parse(&signed(&text)), "ok");
    for wrong in [
        format!("jejak/tally/v2\n{json}"),
        format!("jejak/mandate/v1\n{json}"),
        format!("jejak/TALLY/v1\n{json}"),
        format!("tally/v1\n{json}"),
        format!("{text}\n"),
        format!("{text}more\n"),
        "jejak/tally/v1\n".to_owned(),
        json.to_owned(),
    ] {
        assert_eq!(parse(&signed(&wrong)), "malformed", "{wrong}");
    }
}

// SPEC [E3]
#[test]
fn json_has_one_spelling() {
    let text = tally(World::new().opening(OFFICER, "31.1")).text();
    let json = text.lines().nth(1).unwrap();
    assert!(Body::from_canonical("tally", json).is_ok());
    let change = |from: &str, to: &str| {
        assert!(json.contains(from), "{from}");
        json.replacen(from, to, 1)
    };
    for wrong in [
        change("\"seq\":0", "\"seq\": 0"),
        change("\"seq\":0", "\"seq\":-0"),
        change("\"seq\":0", "\"seq\":00"),
        change("\"seq\":0", "\"seq\":0.0"),
        change("\"seq\":0", "\"seq\":0e0"),
        change("\"seq\":0", "\"seq\":\"0\""),
        change("\"seq\":0", "\"seq\":0,\"seq\":0"),
        change("\"seq\":0", "\"seq\":0,\"sex\":0"),
        change("\"seq\":0,", ""),
        change("\"prev\":null,", ""),
        change("\"ppwp\"", "\"pp\\u0077p\""),
        change("{\"basis\"", "{\"ballots\":null,\"basis\""),
        change("\"01\":10,\"02\":20", "\"02\":20,\"01\":10"),
        change("\"01\":10", "\"01\":10,\"01\":10"),
        json.replacen('{', "[", 1),
        format!("{json} "),
    ] {
        assert!(Body::from_canonical("tally", &wrong).is_err(), "{wrong}");
    }
}

// SPEC [E4] [E5] [E6]
#[test]
fn lines_have_one_order() {
    let body = tally(World::new().opening(OFFICER, "31.1"));
    let text = body.text();
    let co_signers = [key("a/31.1"), key("b/31.1"), other_key("b/31.1")];
    let mut lines: Vec<(String, String)> =
        co_signers.iter().map(|key| (by(key).to_string(), key.sign_line(&text))).collect();
    lines.sort();
    let [a, b, c] = [0, 1, 2].map(|i: usize| lines[i].1.clone());
    let author = key(OFFICER).sign_line(&text);
    let note = |lines: &[&String]| {
        compose(&text, &lines.iter().map(|line| (*line).clone()).collect::<Vec<_>>())
    };
    assert_eq!(parse(&note(&[&author, &a, &b, &c])), "ok");
    for wrong in [
        [&a, &author, &b],
        [&author, &b, &a],
        [&author, &c, &b],
        [&author, &a, &a],
        [&author, &author, &a],
        [&author, &a, &author],
        [&a, &b, &c],
    ] {
        assert_eq!(parse(&note(&wrong)), "malformed", "{wrong:?}");
    }
    let many: Vec<SigningKey> = (0..16).map(|n| key(&format!("w{n:02}/31.1"))).collect();
    let lines: Vec<String> =
        std::iter::once(&key(OFFICER)).chain(&many).map(|key| key.sign_line(&text)).collect();
    assert_eq!(parse(&compose(&text, &lines[..16])), "ok");
    assert_eq!(parse(&compose(&text, &lines)), "malformed");
    // A cosignature has 72 bytes, which no line of an entry has.
    let longer = "\u{2014} a/31.1 ".to_owned() + &"AAAA".repeat(76 / 3) + "AA==\n";
    assert_eq!(parse(&note(&[&author, &longer])), "malformed");
}

// SPEC [E7]
#[test]
fn the_leaf_hash_is_over_all_bytes() {
    let body = tally(World::new().opening(OFFICER, "31.1"));
    let (one, two) = (body.sign(&[&key(OFFICER)]), body.sign(&[&key(OFFICER), &key(OBSERVER)]));
    for entry in [&one, &two] {
        let parsed = Entry::parse(entry.as_bytes()).unwrap();
        assert_eq!(parsed.bytes(), entry.as_bytes());
        assert_eq!(parsed.leaf(), sha256(&[&[0], entry.as_bytes()].concat()));
    }
    assert_ne!(leaf_hash(one.as_bytes()), leaf_hash(two.as_bytes()));
}

/// Every value with one string in it replaced.
fn with_strings_replaced(value: &Value, text: &str) -> Vec<Value> {
    match value {
        Value::String(_) => vec![json!(text)],
        Value::Array(list) => (0..list.len())
            .flat_map(|place| {
                let changed = with_strings_replaced(&list[place], text);
                changed.into_iter().map(move |new| {
                    let mut list = list.clone();
                    list[place] = new;
                    Value::Array(list)
                })
            })
            .collect(),
        Value::Object(map) => map
            .iter()
            .flat_map(|(name, value)| {
                let changed = with_strings_replaced(value, text);
                changed.into_iter().map(move |new| {
                    let mut map = map.clone();
                    map.insert(name.clone(), new);
                    Value::Object(map)
                })
            })
            .collect(),
        _ => vec![],
    }
}

// SPEC [E8] [E9]
#[test]
fn no_string_takes_free_text() {
    let world = World::new();
    let doc =
        Doc { bytes: 1, media: Media::Pdf, page: 1, sha256: sha256(b"1"), sha256_public: None };
    let mut revision = world.revision(OFFICER, "31.1", 1, world.last());
    revision.docs = vec![Doc { sha256_public: Some(sha256(b"2")), ..doc }];
    let granted = mandated(&key("official/31.1"), &["31.1"], Some(&["ppwp"]));
    let bodies = [
        (Body::Manifest(Box::new(manifest())), World::empty(), &ROOTS[..]),
        (world.mandate(OFFICER, vec![granted]), world.clone(), &[OFFICER]),
        (world.revocation(ROOTS[0], OBSERVER, false), world.clone(), &ROOTS),
        (tally(revision), world.clone(), &[OFFICER]),
        (world.freeze(), world.clone(), &ROOTS),
    ];
    let mut replaced = 0;
    for (body, world, signers) in bodies {
        let text = body.text();
        let json: Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
        for text in ["Siti Aminah", "0812 3456 7890", "https://example.com/?id=1", "a@b.id"] {
            for changed in with_strings_replaced(&json, text) {
                let changed = changed.to_string();
                replaced += 1;
                // Most are no bodies at all; the rest, signed as it should be, is refused.
                let Ok(body) = Body::from_canonical(body.kind(), &changed) else { continue };
                let code = world.clone().code(&body, signers);
                assert!(code == "malformed" || code.starts_with("invalid_"), "{code}: {changed}");
            }
        }
    }
    assert!(replaced > 200, "{replaced}");
}

// SPEC [E10] [E11] [E12]
#[test]
fn a_statement_is_for_one_log() {
    let mut world = World::new();
    let good = world.opening(OFFICER, "31.1");
    let wrong = |change: fn(&mut Tally)| {
        let mut wrong = good.clone();
        change(&mut wrong);
        tally(wrong)
    };
    assert_eq!(
        world.code(&wrong(|t| t.log = "log.example/other".into()), &[OFFICER]),
        "invalid_log"
    );
    assert_eq!(world.code(&wrong(|t| t.election = id("other")), &[OFFICER]), "invalid_election");
    assert_eq!(world.code(&wrong(|t| t.genesis = sha256(b"")), &[OFFICER]), "invalid_genesis");
    let genesis = Manifest { genesis: Some(sha256(b"")), ..manifest() };
    let first = World::empty().code(&Body::Manifest(Box::new(genesis)), &ROOTS);
    assert_eq!(first, "invalid_genesis");
    let second = Manifest { genesis: None, ..world.successor() };
    assert_eq!(world.code(&Body::Manifest(Box::new(second)), &ROOTS), "invalid_genesis");
}

// SPEC [E13]
#[test]
fn entry_0_is_a_manifest() {
    let mut world = World::empty();
    // A mandate of nobody's: its lines are of unknown keys before anything else is asked.
    let mandate = world.mandate(ROOTS[0], vec![mandated(&key(OFFICER), &["31"], None)]);
    assert_eq!(world.code(&mandate, &ROOTS), "unknown_key");
    // And if its keys are taken for known, the ledger has no place for it.
    let entry = mandate.sign(&[&key(ROOTS[0]), &key(ROOTS[1])]);
    let taken = Entry::parse(entry.as_bytes()).unwrap().assume_checked().unwrap();
    assert_eq!(world.ledger.apply(&taken).unwrap_err().code(), "invalid_genesis");
    assert_eq!(world.code(&Body::Manifest(Box::new(manifest())), &ROOTS), "ok");
}

// SPEC [E15]
#[test]
fn every_list_of_a_manifest_is_checked() {
    type Change = fn(&mut Manifest);
    let rows: [(&str, Change); 24] = [
        ("invalid_bases", |m| m.bases.clear()),
        ("invalid_bases", |m| m.bases = words(&["renvoi", "renvoi"])),
        ("invalid_bases", |m| {
            m.bases = (0..65).map(|n| format!("b{n}").parse().unwrap()).collect();
        }),
        ("invalid_exempt_kinds", |m| m.exempt_kinds = words(&["province"])),
        ("invalid_levels", |m| m.levels = words(&["nation", "nation", "province", "tps", "box"])),
        ("invalid_log_keys", |m| m.log_keys.clear()),
        ("invalid_log_keys", |m| m.log_keys[0].until = Some(0)),
        ("invalid_log_keys", |m| m.log_keys[0].vkey = vkey(&key("log.example/other"))),
        ("invalid_roles", |m| m.roles.clear()),
        ("invalid_roles", |m| m.roles[0].id = id("root")),
        ("invalid_roles", |m| m.roles[0].id = m.roles[1].id.clone()),
        ("invalid_roles", |m| m.roles[0].may_grant = vec![id("nobody")]),
        ("invalid_roles", |m| m.roles[0].may_open = words(&["village"])),
        ("invalid_roles", |m| m.roles[0].may_revise = words(&["tps", "tps"])),
        ("invalid_roles", |m| m.roles[0].forms = words(&["c-hasil", "c-hasil"])),
        ("invalid_root_keys", |m| m.root_keys.reverse()),
        ("invalid_root_keys", |m| m.root_keys[0] = vkey(&key("official/A"))),
        ("invalid_root_keys", |m| m.root_keys[1] = m.root_keys[0].clone()),
        ("invalid_rounds", |m| m.rounds.clear()),
        ("invalid_station_kinds", |m| m.station_kinds = words(&["village"])),
        ("invalid_threshold", |m| m.threshold = 0),
        ("invalid_threshold", |m| m.threshold = 3),
        ("invalid_version", |m| m.version = 0),
        ("invalid_previous", |m| m.previous = Some(sha256(b""))),
    ];
    for (want, change) in rows {
        let mut wrong = manifest();
        change(&mut wrong);
        // Root keys are read when signatures are checked, the rest by the ledger.
        assert_eq!(World::empty().code(&Body::Manifest(Box::new(wrong)), &ROOTS), want);
    }
    let mut world = World::new();
    let without = Manifest { root_keys: vec![], ..world.successor() };
    assert_eq!(world.code(&Body::Manifest(Box::new(without)), &ROOTS), "invalid_root_keys");
    let mut two = manifest();
    two.log_keys.push(LogKey { from: 7, until: Some(8), vkey: vkey(&log_key()) });
    assert_eq!(World::empty().code(&Body::Manifest(Box::new(two)), &ROOTS), "ok");
}

// SPEC [E16] [E17]
#[test]
fn every_key_of_a_mandate_is_checked() {
    let mut world = World::new();
    let fresh = key("official/31.1");
    let good = mandated(&fresh, &["31.1"], Some(&["ppwp"]));
    let many = |count: usize| (0..count).map(|n| id(&format!("c{n:03}"))).collect::<Vec<_>>();
    let mut rows = vec![("invalid_keys", vec![]), ("invalid_keys", vec![good.clone(); 401])];
    let mut row = |code, change: &dyn Fn(&mut jejak_proofs::tally::MandatedKey)| {
        let mut wrong = good.clone();
        change(&mut wrong);
        rows.push((code, vec![wrong]));
    };
    row("invalid_units", &|k| k.units.clear());
    row("invalid_units", &|k| k.units = vec![code("31.1"), code("31.1")]);
    row("invalid_units", &|k| k.units = vec![code("31.1"), code("31")]);
    row("invalid_units", &|k| k.units = (0..257).map(|n| code(&format!("U{n:03}"))).collect());
    row("invalid_contests", &|k| k.contests = Some(vec![]));
    row("invalid_contests", &|k| k.contests = Some(vec![id("ppwp"), id("dpd:31")]));
    row("invalid_contests", &|k| k.contests = Some(many(257)));
    row("invalid_key", &|k| k.vkey = "official/31.1+00000000+AAAA".into());
    row("invalid_name", &|k| k.role = id("observer"));
    row("invalid_name", &|k| k.units = vec![code("32")]);
    row("invalid_name", &|k| k.vkey = vkey(&key("official")));
    for (want, keys) in rows {
        let body = world.mandate(ROOTS[0], keys);
        assert_eq!(world.code(&body, &ROOTS), want);
    }
    // A witness's key signs checkpoints, not entries.
    let seed = [7; 32];
    let cosigner =
        jejak_proofs::note::CosigningKey::from_seed(fresh.name(), KeyKind::CosignatureV1, seed);
    let vkey = cosigner.unwrap().verifier().to_string().into();
    let body =
        world.mandate(ROOTS[0], vec![jejak_proofs::tally::MandatedKey { vkey, ..good.clone() }]);
    assert_eq!(world.code(&body, &ROOTS), "invalid_key");
    let body = world.mandate(ROOTS[0], vec![good]);
    assert_eq!(world.code(&body, &ROOTS), "ok");
}

// SPEC [E18] [E20] [E21] [E22] [E23] [E24] [E25] [E26] [E27] [E28]
#[test]
fn every_field_of_a_tally_is_checked() {
    let doc = |page: u32| Doc {
        bytes: 1,
        media: Media::Jpeg,
        page,
        sha256: sha256(&page.to_be_bytes()),
        sha256_public: None,
    };
    let opening: [(&str, Change<'_>); 15] = [
        ("invalid_basis", &|t| t.basis = "machine_reading".parse().unwrap()),
        ("invalid_contest", &|t| t.contest = id("dpr")),
        ("invalid_decision", &|t| t.decision = Some(sha256(b""))),
        ("invalid_docs", &|t| t.docs = vec![doc(2), doc(1)]),
        ("invalid_docs", &|t| t.docs = vec![doc(1), doc(1)]),
        ("invalid_docs", &|t| t.docs = (1..=65).map(doc).collect()),
        ("invalid_prev", &|t| t.prev = Some(sha256(b""))),
        ("invalid_reason", &|t| t.reason = Some(Reason::Clerical)),
        ("invalid_round", &|t| t.round = "recount".parse().unwrap()),
        ("invalid_unit", &|t| t.unit = code("33.1")),
        ("invalid_votes", &|t| t.votes.clear()),
        ("invalid_votes", &|t| t.votes.retain(|option, _| option.as_str() != "01")),
        ("invalid_votes", &|t| t.votes.extend([(id("03"), Some(0))])),
        ("ok", &|t| t.votes.extend([(id("01"), None)])),
        ("ok", &|t| t.docs = (1..=64).map(doc).collect()),
    ];
    for (want, change) in opening {
        let mut world = World::new();
        let mut changed = world.opening(OFFICER, "31.1");
        change(&mut changed);
        assert_eq!(world.code(&tally(changed), &[OFFICER]), want);
    }
    let mut world = World::new();
    // In the register, but no unit of the contest's scope is above or below it.
    let elsewhere = Tally { contest: id("dpd:31"), ..world.opening(OBSERVER, "32.1") };
    assert_eq!(world.code(&tally(elsewhere), &[OBSERVER]), "invalid_unit");
    world.take(&tally(world.opening(OFFICER, "31.1")), &[OFFICER]);
    let good = world.revision(OFFICER, "31.1", 1, world.last());
    let withdrawn = Tally { reason: Some(Reason::Withdrawn), ..good.clone() };
    let blank = Tally {
        invalid: None,
        total: None,
        valid: None,
        votes: [(id("01"), None), (id("02"), None)].into(),
        ..withdrawn.clone()
    };
    let count = Sexes { l: None, p: None };
    for (want, wrong) in [
        ("invalid_decision", Tally { decision: None, ..good.clone() }),
        ("invalid_prev", Tally { prev: None, ..good.clone() }),
        ("invalid_reason", Tally { reason: None, ..good }),
        ("invalid_reason", withdrawn),
        ("invalid_reason", Tally { registered: Some(count), ..blank.clone() }),
        ("ok", blank),
    ] {
        assert_eq!(world.code(&tally(wrong), &[OFFICER]), want);
    }
}

// SPEC [R1] [R2] [R3] [R4]
#[test]
fn a_unit_register_has_one_spelling() {
    let good = spell(&units(), &contests())[0].clone();
    let change = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replacen(from, to, 1)
    };
    assert!(UnitRegister::parse(good.as_bytes()).is_ok());
    let name = |name: &str| change("Unit 32", name);
    for right in [name("\"A, B\""), name("12345"), name(&"n".repeat(64)), change("100", "")] {
        assert!(UnitRegister::parse(right.as_bytes()).is_ok(), "{right}");
    }
    for wrong in [
        good.trim_end().to_owned(),
        good.replace('\n', "\r\n"),
        change("unit,", "code,"),
        change("32,ID,province", "33,ID,province"),
        change("ID,,nation", "ID,ID,nation"),
        change("32,ID,province", "32,,province"),
        change("31.K,31", "31.1,31"),
        change("31.K,31", "31.0,31"),
        name("\"A\""),
        name("A, B"),
        name("A\"B"),
        name("123456"),
        name("A\u{7}"),
        name(&"n".repeat(65)),
        change("100", "0100"),
        change("100", "+100"),
        change("100", "4294967296"),
        change("Unit 32", "Unit 32,"),
    ] {
        assert!(UnitRegister::parse(wrong.as_bytes()).is_err(), "{wrong}");
    }
    let mut long = good.clone().into_bytes();
    long.resize(64 << 20, b'\n');
    let long = UnitRegister::parse(&[&long[..], b"\n"].concat()).unwrap_err();
    assert_eq!(long.kind, jejak_proofs::tally::RegisterErrorKind::Encoding);
    assert!(UnitRegister::parse(&[good.as_bytes(), &[0xff, b'\n']].concat()).is_err());
}

// SPEC [R5]
#[test]
fn a_unit_register_fits_its_manifest() {
    let mut below_a_station = units();
    below_a_station.push(unit("31.1.1", "31.1", "box"));
    let mut named_station = units();
    named_station[2].name = "A station".into();
    let mut voters_of_a_region = units();
    voters_of_a_region[1].registered.l = Some(1);
    let mut level_above = units();
    level_above.push(unit("33", "32", "nation"));
    let mut unknown_kind = units();
    unknown_kind[2].kind = "village".parse().unwrap();
    for units in [below_a_station, named_station, voters_of_a_region, level_above, unknown_kind] {
        let registers = spell(&units, &contests());
        let mut world = World::empty();
        world.provide(&registers);
        let wrong = Manifest { registers: named(&registers), ..manifest() };
        assert_eq!(world.code(&Body::Manifest(Box::new(wrong)), &ROOTS), "invalid_registers");
    }
}

// SPEC [R6]
#[test]
fn a_contest_register_has_one_spelling() {
    let good = spell(&units(), &contests())[1].clone();
    let lines: Vec<&str> = good.lines().collect();
    assert!(ContestRegister::parse(good.as_bytes()).is_ok());
    let change = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replacen(from, to, 1)
    };
    let options = |count: u32| {
        let all: Vec<String> = (0..count).map(|n| format!("\"o{n}\"")).collect();
        change("\"01\",\"02\"", &all.join(","))
    };
    assert!(ContestRegister::parse(options(1_024).as_bytes()).is_ok());
    for wrong in [
        String::new(),
        format!("{}\n{}\n", lines[1], lines[0]),
        format!("{good}{}\n", lines[1]),
        change("\"01\",\"02\"", "\"01\",\"01\""),
        options(0),
        options(1_025),
        change("[\"ID\"]", "[]"),
        change("[\"ID\"]", "[\"ID\",\"ID\"]"),
        change("[\"ID\"]", "[\"ID\",\"31\"]"),
        change(",\"options\"", ", \"options\""),
    ] {
        assert!(ContestRegister::parse(wrong.as_bytes()).is_err(), "{wrong}");
    }
    let registers = spell(&units(), &[contest("ppwp", &["01"], "99")]);
    let mut world = World::empty();
    world.provide(&registers);
    let wrong = Manifest { registers: named(&registers), ..manifest() };
    assert_eq!(world.code(&Body::Manifest(Box::new(wrong)), &ROOTS), "invalid_registers");
}

const STATION: UnitFacts = UnitFacts {
    registered: Sexes { l: Some(100), p: Some(111) },
    station: true,
    exempt: false,
    station_max: 300,
};

/// A form that keeps every rule.
fn form() -> Tally {
    let sexes = |l, p| Sexes { l: Some(l), p: Some(p) };
    Tally {
        ballots: Some(Ballots {
            received: Some(216),
            returned: Some(2),
            unused: Some(14),
            used: Some(200),
        }),
        invalid: Some(10),
        registered: Some(sexes(100, 111)),
        total: Some(200),
        valid: Some(190),
        voters: Some(Voters { dpk: sexes(1, 2), dpt: sexes(95, 100), dptb: sexes(1, 1) }),
        votes: [(id("01"), Some(90)), (id("02"), Some(100))].into(),
        ..World::new().opening(OFFICER, "31.1")
    }
}

fn flags(change: &dyn Fn(&mut Tally, &mut UnitFacts)) -> String {
    let (mut tally, mut facts) = (form(), STATION);
    change(&mut tally, &mut facts);
    check_form(&tally, &facts).to_string()
}

// SPEC [G1]
#[test]
fn a_missing_number_breaks_no_rule() {
    let text = to_canonical(&form());
    let json: Value = serde_json::from_str(&text).unwrap();
    let numbers: Vec<String> = ["invalid", "total", "valid"].map(|f| format!("/{f}")).into();
    let nested = ["ballots", "registered", "voters/dpk", "voters/dpt", "voters/dptb", "votes"];
    let nested = nested.iter().flat_map(|path| {
        let fields = json.pointer(&format!("/{path}")).unwrap().as_object().unwrap();
        fields.keys().map(move |field| format!("/{path}/{field}"))
    });
    for path in numbers.into_iter().chain(nested) {
        let mut json = json.clone();
        *json.pointer_mut(&path).unwrap() = Value::Null;
        let tally: Tally = from_canonical(&json.to_string()).unwrap();
        assert!(check_form(&tally, &STATION).is_empty(), "{path}");
    }
}

// SPEC [G2] [G3]
#[test]
fn every_rule_of_the_form_at_its_edge() {
    let votes = |t: &mut Tally, n| *t.votes.get_mut("01").unwrap() = Some(n);
    let rows: [(&str, FormChange<'_>); 22] = [
        ("", &|_, _| {}),
        ("A1,A11", &|t, _| votes(t, 91)),
        ("A1", &|t, _| votes(t, 201)),
        ("A1,A7,A11", &|t, _| votes(t, 890)),
        ("A2", &|t, _| t.invalid = Some(11)),
        ("A3", &|t, _| t.voters.as_mut().unwrap().dptb.p = Some(2)),
        ("A4", &|t, _| t.ballots.as_mut().unwrap().received = Some(217)),
        ("A4", &|t, _| {
            let ballots = t.ballots.as_mut().unwrap();
            (ballots.used, ballots.unused) = (Some(201), Some(13));
        }),
        ("A5", &|t, _| t.registered.as_mut().unwrap().l = Some(94)),
        ("A5", &|t, _| t.registered.as_mut().unwrap().p = Some(99)),
        // 1.02 x 196 is 199.92, rounded up 200; 1.02 x 195 is 198.9, rounded up 199.
        ("", &|_, f| f.registered = Sexes { l: Some(96), p: Some(100) }),
        ("A6", &|_, f| f.registered = Sexes { l: Some(95), p: Some(100) }),
        ("", &|_, f| (f.registered, f.exempt) = (Sexes { l: Some(0), p: Some(0) }, true)),
        ("A4,A6", &|t, _| t.ballots.as_mut().unwrap().received = Some(199)),
        ("A4,A6", &|t, f| (t.ballots.as_mut().unwrap().received, f.exempt) = (Some(199), true)),
        ("", &|_, f| f.station_max = 200),
        ("A7", &|_, f| f.station_max = 199),
        ("", &|_, f| (f.station_max, f.exempt) = (199, true)),
        ("", &|_, f| (f.station_max, f.station) = (0, false)),
        ("A1,A7", &|t, f| (*t.votes.get_mut("01").unwrap(), f.exempt) = (Some(1_000), true)),
        ("A1", &|t, f| (*t.votes.get_mut("01").unwrap(), f.station_max) = (Some(999), 5_000)),
        ("A1,A7", &|t, f| (*t.votes.get_mut("01").unwrap(), f.station_max) = (Some(1_000), 5_000)),
    ];
    for (number, (want, change)) in rows.into_iter().enumerate() {
        assert_eq!(flags(change), want, "row {number}");
    }
    assert_eq!(FORM_NUMBER_MAX, 999);
    let ids: Vec<&str> = FormRule::ALL.iter().map(|rule| rule.id()).collect();
    assert_eq!(ids, ["A1", "A2", "A3", "A4", "A5", "A6", "A7", "A11"]);
}
