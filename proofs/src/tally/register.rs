//! The unit register and the contest register: which units and contests exist.
//!
//! Both are files named by their SHA-256 in the manifest, and each has one spelling, so that two
//! hands which hold the same register hold the same bytes.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::ops::Range;

use serde::{Deserialize, Serialize};

use super::{
    ids::{Id, UnitCode, Word},
    json,
    statement::{Count, Sexes},
};
use crate::merkle::{Hash, sha256};

/// Largest register, in bytes.
pub const REGISTER_LEN_MAX: usize = 64 << 20;
/// Longest name of a region, in characters.
pub const NAME_LEN_MAX: usize = 64;
/// Longest run of digits in a name: more could be an identity number or a phone.
pub const NAME_DIGITS_MAX: usize = 5;
/// Most options of a contest.
pub const OPTIONS_MAX: usize = 1_024;
/// The header of a unit register.
pub const UNIT_HEADER: &str = "unit,parent,kind,name,registered.l,registered.p";

/// Why bytes are not a register. Lines count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("register line {line}: {kind}")]
pub struct RegisterError {
    /// The line at fault; the last one plus one for what only the end shows.
    pub line: usize,
    /// What is wrong with it.
    pub kind: RegisterErrorKind,
}

/// What is wrong with a line of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterErrorKind {
    /// The file is larger than [`REGISTER_LEN_MAX`] or not UTF-8.
    #[error("not UTF-8 of at most 64 MiB")]
    Encoding,
    /// The header differs, or a line does not end in LF.
    #[error("header or line ending differs")]
    Header,
    /// Not six fields, or a field of the wrong shape.
    #[error("not `unit,parent,kind,name,registered.l,registered.p` in its one spelling")]
    Fields,
    /// The parent is unknown or stands later.
    #[error("parent is unknown, or children do not follow their parent in code order")]
    Order,
    /// A second unit without a parent, or none.
    #[error("there must be exactly one unit without a parent")]
    Root,
    /// A code that stands twice.
    #[error("code stands twice")]
    Twice,
    /// A name too long, with quotes, characters that do not show, or a long run of digits.
    #[error("name is not plain text of at most 64 characters without long numbers")]
    Name,
    /// A contest line that is not canonical, not in order of ids, or names an option twice.
    #[error("not a contest in canonical form, in order of ids, with distinct options and scopes")]
    Contest,
}

/// Why units or contests cannot be written as a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct SpellError {
    /// Place in the input, from 0, of the unit or contest at fault; `None` if it is the whole.
    pub place: Option<usize>,
    /// What is wrong with it.
    pub kind: RegisterErrorKind,
}

/// Place of a unit in one register: its row, counted from 0. Only a place, never an identity.
pub type Slot = u32;

const NULL: u32 = u32::MAX;

#[derive(Clone, Debug)]
struct Row {
    code: Range<u32>,
    name: Range<u32>,
    parent: Slot,
    /// One past the last slot of the subtree.
    end: Slot,
    kind: u8,
    registered: Sexes,
}

/// The units of an election as a tree, in depth-first order, children ascending by code: so a
/// subtree is a range of slots and "is below" is two comparisons.
#[derive(Clone, Debug)]
pub struct UnitRegister {
    sha256: Hash,
    text: Box<str>,
    rows: Vec<Row>,
    kinds: Vec<Word>,
    by_code: Vec<Slot>,
}

/// One unit, as a line of the register says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its code.
    pub code: UnitCode,
    /// Code of the unit above; `None` for the one at the top.
    pub parent: Option<UnitCode>,
    /// Its kind: one of the manifest's levels.
    pub kind: Word,
    /// Its name; empty for stations.
    pub name: String,
    /// Registered voters; stations only.
    pub registered: Sexes,
}

impl UnitRegister {
    /// Reads a register in its one spelling: LF, the header, units depth first, children
    /// ascending by code, a name quoted only where it has a comma.
    ///
    /// # Errors
    /// Fails with the first line that differs.
    pub fn parse(bytes: &[u8]) -> Result<Self, RegisterError> {
        let text = register_text(bytes)?;
        let mut lines = text.split_terminator('\n');
        if lines.next() != Some(UNIT_HEADER) {
            return Err(RegisterError { line: 1, kind: RegisterErrorKind::Header });
        }
        let mut builder = Builder::new(text);
        for (number, line) in lines.enumerate() {
            builder.push(line).map_err(|kind| RegisterError { line: number + 2, kind })?;
        }
        builder.finish(sha256(bytes))
    }

    /// SHA-256 of the file.
    pub fn sha256(&self) -> Hash {
        self.sha256
    }

    /// The file.
    pub fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// Number of units.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Never true: a register has a top.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The kinds of units that occur.
    pub fn kinds(&self) -> &[Word] {
        &self.kinds
    }

    /// The slot of the unit with this code.
    pub fn slot(&self, code: &str) -> Option<Slot> {
        let place = self.by_code.binary_search_by(|slot| self.code(*slot).cmp(code)).ok()?;
        Some(self.by_code[place])
    }

    /// The code of the unit in `slot`.
    ///
    /// # Panics
    /// If `slot` is not one of this register, as for every accessor by slot.
    pub fn code(&self, slot: Slot) -> &str {
        self.slice(&self.rows[slot as usize].code)
    }

    /// The name of the unit; empty for stations.
    pub fn name(&self, slot: Slot) -> &str {
        self.slice(&self.rows[slot as usize].name)
    }

    /// The kind of the unit.
    pub fn kind(&self, slot: Slot) -> &Word {
        &self.kinds[usize::from(self.rows[slot as usize].kind)]
    }

    /// The unit above; `None` at the top.
    pub fn parent(&self, slot: Slot) -> Option<Slot> {
        Some(self.rows[slot as usize].parent).filter(|parent| *parent != NULL)
    }

    /// Registered voters.
    pub fn registered(&self, slot: Slot) -> Sexes {
        self.rows[slot as usize].registered
    }

    /// The slots of the unit and of all below it.
    pub fn subtree(&self, slot: Slot) -> Range<Slot> {
        slot..self.rows[slot as usize].end
    }

    fn slice(&self, range: &Range<u32>) -> &str {
        &self.text[range.start as usize..range.end as usize]
    }

    /// Writes `units`, in whatever order they come, as a register in its one spelling.
    ///
    /// # Errors
    /// Fails if the units are not one tree of distinct codes, with the place of the first unit at
    /// fault.
    pub fn spell(units: &[Unit]) -> Result<String, SpellError> {
        let by_code = check_units(units)?;
        let mut children: BTreeMap<Option<&str>, Vec<&str>> = BTreeMap::new();
        for unit in units {
            let parent = unit.parent.as_ref().map(UnitCode::as_str);
            children.entry(parent).or_default().push(unit.code.as_str());
        }
        children.values_mut().for_each(|codes| codes.sort_unstable_by(|a, b| b.cmp(a)));
        let mut text = String::from(UNIT_HEADER) + "\n";
        let mut written = Vec::with_capacity(units.len());
        let mut stack = children.remove(&None).unwrap_or_default();
        while let Some(code) = stack.pop() {
            spell_unit(&mut text, &units[by_code[code]]);
            stack.extend(children.remove(&Some(code)).unwrap_or_default());
            written.push(by_code[code]);
        }
        if written.len() != units.len() {
            // What remains hangs in a circle.
            let left = units.iter().position(|unit| {
                children.contains_key(&unit.parent.as_ref().map(UnitCode::as_str))
            });
            return Err(SpellError { place: left, kind: RegisterErrorKind::Order });
        }
        // The header stands on line 1.
        let of_line = |error: RegisterError| SpellError {
            place: error.line.checked_sub(2).and_then(|row| written.get(row).copied()),
            kind: error.kind,
        };
        Self::parse(text.as_bytes()).map_err(of_line)?;
        Ok(text)
    }
}

/// The units by their codes, if each has its own, a parent among the others, and only one none.
fn check_units(units: &[Unit]) -> Result<BTreeMap<&str, usize>, SpellError> {
    let mut by_code: BTreeMap<&str, usize> = BTreeMap::new();
    let mut top = None;
    for (place, unit) in units.iter().enumerate() {
        let at = |kind| SpellError { place: Some(place), kind };
        check_name(&unit.name).map_err(at)?;
        if by_code.insert(unit.code.as_str(), place).is_some() {
            return Err(at(RegisterErrorKind::Twice));
        }
        if unit.parent.is_none() && top.replace(place).is_some() {
            return Err(at(RegisterErrorKind::Root));
        }
    }
    for (place, unit) in units.iter().enumerate() {
        if unit.parent.as_ref().is_some_and(|parent| !by_code.contains_key(parent.as_str())) {
            return Err(SpellError { place: Some(place), kind: RegisterErrorKind::Order });
        }
    }
    match top {
        Some(_) => Ok(by_code),
        None => Err(SpellError { place: None, kind: RegisterErrorKind::Root }),
    }
}

fn spell_unit(text: &mut String, unit: &Unit) {
    let number = |count: Count| count.map(|n| n.to_string()).unwrap_or_default();
    let parent = unit.parent.as_ref().map_or("", UnitCode::as_str);
    let quote = if unit.name.contains(',') { "\"" } else { "" };
    let fields = [unit.code.as_str(), ",", parent, ",", unit.kind.as_str(), ",", quote];
    fields.iter().for_each(|part| text.push_str(part));
    let (l, p) = (number(unit.registered.l), number(unit.registered.p));
    let fields = [unit.name.as_str(), quote, ",", &l, ",", &p, "\n"];
    fields.iter().for_each(|part| text.push_str(part));
}

fn register_text(bytes: &[u8]) -> Result<&str, RegisterError> {
    let error = |kind| RegisterError { line: 1, kind };
    let text = core::str::from_utf8(bytes).map_err(|_| error(RegisterErrorKind::Encoding))?;
    if bytes.len() > REGISTER_LEN_MAX {
        return Err(error(RegisterErrorKind::Encoding));
    }
    if text.is_empty() || text.ends_with('\n') {
        Ok(text)
    } else {
        Err(error(RegisterErrorKind::Header))
    }
}

/// Reads lines and keeps the path from the top to the line before.
struct Builder<'a> {
    text: &'a str,
    rows: Vec<Row>,
    kinds: Vec<Word>,
    path: Vec<Slot>,
}

impl<'a> Builder<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, rows: Vec::new(), kinds: Vec::new(), path: Vec::new() }
    }

    fn push(&mut self, line: &'a str) -> Result<(), RegisterErrorKind> {
        let [code, parent, kind, name, l, p] = fields(line).ok_or(RegisterErrorKind::Fields)?;
        code.parse::<UnitCode>().map_err(|_| RegisterErrorKind::Fields)?;
        check_name(name)?;
        let kind = self.kind(kind)?;
        let registered = Sexes { l: number(l)?, p: number(p)? };
        let slot = self.rows.len() as Slot;
        let previous_sibling = self.leave_to(parent)?;
        if previous_sibling.is_some_and(|sibling| self.code(sibling) >= code) {
            return Err(RegisterErrorKind::Order);
        }
        let parent = self.path.last().copied().unwrap_or(NULL);
        let (code, name) = (self.range(code), self.range(name));
        self.rows.push(Row { code, name, parent, end: NULL, kind, registered });
        self.path.push(slot);
        Ok(())
    }

    /// Closes subtrees until `parent` is the end of the path; gives the child closed last.
    fn leave_to(&mut self, parent: &str) -> Result<Option<Slot>, RegisterErrorKind> {
        if parent.is_empty() != self.rows.is_empty() {
            return Err(RegisterErrorKind::Root);
        }
        let mut closed = None;
        while let Some(&last) = self.path.last() {
            if self.code(last) == parent {
                return Ok(closed);
            }
            self.rows[last as usize].end = self.rows.len() as Slot;
            closed = self.path.pop();
        }
        if parent.is_empty() { Ok(None) } else { Err(RegisterErrorKind::Order) }
    }

    fn finish(mut self, sha256: Hash) -> Result<UnitRegister, RegisterError> {
        let line = self.rows.len() + 2;
        let error = |kind| RegisterError { line, kind };
        if self.rows.is_empty() {
            return Err(error(RegisterErrorKind::Root));
        }
        let end = self.rows.len() as Slot;
        for slot in &self.path {
            self.rows[*slot as usize].end = end;
        }
        let mut by_code: Vec<Slot> = (0..end).collect();
        // Depth-first order is nearly code order, which the stable sort turns to account.
        by_code.sort_by(|a, b| self.code(*a).cmp(self.code(*b)));
        if by_code.windows(2).any(|pair| self.code(pair[0]) == self.code(pair[1])) {
            return Err(error(RegisterErrorKind::Twice));
        }
        let text = Box::from(self.text);
        Ok(UnitRegister { sha256, text, rows: self.rows, kinds: self.kinds, by_code })
    }

    fn code(&self, slot: Slot) -> &'a str {
        let range = &self.rows[slot as usize].code;
        &self.text[range.start as usize..range.end as usize]
    }

    fn kind(&mut self, kind: &str) -> Result<u8, RegisterErrorKind> {
        let known = self.kinds.iter().position(|known| known.as_str() == kind);
        let place = match known {
            Some(place) => place,
            None => {
                self.kinds.push(kind.parse().map_err(|_| RegisterErrorKind::Fields)?);
                self.kinds.len() - 1
            }
        };
        u8::try_from(place).map_err(|_| RegisterErrorKind::Fields)
    }

    /// Where `part`, a slice of the text, stands in it.
    fn range(&self, part: &'a str) -> Range<u32> {
        let start = part.as_ptr() as usize - self.text.as_ptr() as usize;
        start as u32..(start + part.len()) as u32
    }
}

/// The six fields. Only the name may hold a comma, and is quoted exactly then.
fn fields(line: &str) -> Option<[&str; 6]> {
    let (code, rest) = line.split_once(',')?;
    let (parent, rest) = rest.split_once(',')?;
    let (kind, rest) = rest.split_once(',')?;
    let (rest, p) = rest.rsplit_once(',')?;
    let (name, l) = rest.rsplit_once(',')?;
    let name = match name.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"').filter(|name| name.contains(','))?,
        None => Some(name).filter(|name| !name.contains(','))?,
    };
    Some([code, parent, kind, name, l, p])
}

fn number(text: &str) -> Result<Count, RegisterErrorKind> {
    if text.is_empty() {
        return Ok(None);
    }
    let number: u32 = text.parse().map_err(|_| RegisterErrorKind::Fields)?;
    if number.to_string() == text { Ok(Some(number)) } else { Err(RegisterErrorKind::Fields) }
}

fn check_name(name: &str) -> Result<(), RegisterErrorKind> {
    let plain = name.chars().all(|c| !c.is_control() && !invisible(c) && c != '"');
    // Digits of every script: an identity number is one in any.
    let mut runs = name.split(|c: char| !c.is_numeric());
    let short = name.chars().count() <= NAME_LEN_MAX;
    if plain && short && runs.all(|run| run.chars().count() <= NAME_DIGITS_MAX) {
        Ok(())
    } else {
        Err(RegisterErrorKind::Name)
    }
}

/// Characters that end a line, turn it around, or take no room (Unicode: Zl, Zp and most of Cf).
fn invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// One race: a line of the contest register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contest {
    /// Its id.
    pub id: Id,
    /// Candidates, tickets or parties, in the order of the ballot.
    pub options: Vec<Id>,
    /// Codes of units, ascending; each means itself and all below it.
    pub scope: Vec<UnitCode>,
}

/// The contests of an election: one canonical JSON line each, ascending by id.
#[derive(Clone, Debug)]
pub struct ContestRegister {
    sha256: Hash,
    text: Box<str>,
    contests: Vec<Contest>,
}

impl ContestRegister {
    /// Reads a contest register in its one spelling.
    ///
    /// # Errors
    /// Fails with the first line that differs.
    pub fn parse(bytes: &[u8]) -> Result<Self, RegisterError> {
        let text = register_text(bytes)?;
        let mut contests: Vec<Contest> = Vec::new();
        for (number, line) in text.split_terminator('\n').enumerate() {
            let error = RegisterError { line: number + 1, kind: RegisterErrorKind::Contest };
            let contest: Contest = json::from_canonical(line).map_err(|_| error)?;
            let rising = contests.last().is_none_or(|last| last.id < contest.id);
            let options: BTreeSet<&Id> = contest.options.iter().collect();
            let distinct = options.len() == contest.options.len();
            let bounded = (1..=OPTIONS_MAX).contains(&options.len()) && !contest.scope.is_empty();
            if !rising || !distinct || !bounded || !contest.scope.is_sorted_by(|a, b| a < b) {
                return Err(error);
            }
            contests.push(contest);
        }
        if contests.is_empty() {
            return Err(RegisterError { line: 1, kind: RegisterErrorKind::Contest });
        }
        Ok(Self { sha256: sha256(bytes), text: text.into(), contests })
    }

    /// Writes `contests` as a register in its one spelling.
    ///
    /// # Errors
    /// Fails if a contest stands twice, lacks options or scope, or names one twice, with its place.
    pub fn spell(contests: &[Contest]) -> Result<String, SpellError> {
        let mut sorted: Vec<(usize, Contest)> = vec![];
        for (place, contest) in contests.iter().enumerate() {
            let mut contest = contest.clone();
            contest.scope.sort_unstable();
            sorted.push((place, contest));
        }
        sorted.sort_by(|(_, a), (_, b)| a.id.cmp(&b.id));
        let lines = sorted.iter().flat_map(|(_, c)| [json::to_canonical(c), "\n".into()]);
        let text: String = lines.collect();
        let of_line = |error: RegisterError| SpellError {
            place: sorted.get(error.line.saturating_sub(1)).map(|(place, _)| *place),
            kind: error.kind,
        };
        Self::parse(text.as_bytes()).map_err(of_line)?;
        Ok(text)
    }

    /// SHA-256 of the file.
    pub fn sha256(&self) -> Hash {
        self.sha256
    }

    /// The file.
    pub fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// All contests, ascending by id.
    pub fn contests(&self) -> &[Contest] {
        &self.contests
    }

    /// The contest with this id, and its place in the register.
    pub fn find(&self, id: &str) -> Option<(usize, &Contest)> {
        let place = self.contests.binary_search_by(|contest| contest.id.as_str().cmp(id)).ok()?;
        Some((place, &self.contests[place]))
    }
}
