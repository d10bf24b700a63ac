"""Entries of a Jejak log and its registers (SPEC.md, "Entries", "Registers"), for `verify.py`."""

import csv
import json
import re

from notes import Note, Refused, refuse_unless

ENTRY_LEN_MAX = 65_535
SIGNATURES_MAX = 16
STATE_LEN_MAX = 512

# Canonical JSON and the bodies of entries


def once(pairs):
    fields = dict(pairs)
    refuse_unless(len(fields) == len(pairs), "a key twice")
    return fields


def never(_):
    raise Refused("a number that is no integer")


def canonical(text):
    """The value of a JSON text, if the text is its one spelling."""
    refuse_unless(all(" " <= c <= "~" and c != "\\" for c in text), "bytes")
    try:
        value = json.loads(
            text, object_pairs_hook=once, parse_float=never, parse_constant=never
        )
    except (ValueError, RecursionError):
        raise Refused("json") from None
    spelled = json.dumps(value, sort_keys=True, separators=(",", ":"))
    refuse_unless(spelled == text, "spelling")
    return value


def pattern(regex):
    compiled = re.compile(regex)

    def check(value):
        refuse_unless(isinstance(value, str) and compiled.fullmatch(value), "shape")

    return check


def integer(largest):
    def check(value):
        refuse_unless(type(value) is int and 0 <= value <= largest, "integer")

    return check


def boolean(value):
    refuse_unless(isinstance(value, bool), "boolean")


def string(value):
    refuse_unless(isinstance(value, str), "string")


def one_of(*words):
    return lambda value: refuse_unless(isinstance(value, str) and value in words, "word")


def or_null(check):
    return lambda value: None if value is None else check(value)


def each(check):
    def check_list(value):
        refuse_unless(isinstance(value, list), "list")
        for item in value:
            check(item)

    return check_list


def mapping(check_key, check):
    def check_map(value):
        refuse_unless(isinstance(value, dict), "object")
        for key, item in value.items():
            check_key(key)
            check(item)

    return check_map


def fields(required, optional=()):
    optional = dict(optional)

    def check(value):
        refuse_unless(isinstance(value, dict), "object")
        refuse_unless(required.keys() <= value.keys(), "a field is missing")
        for name, item in value.items():
            refuse_unless(name in required or name in optional, "unknown field")
            (required.get(name) or optional[name])(item)

    return check


MINUTE = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d)Z", re.ASCII)


def minute(value):
    found = MINUTE.fullmatch(value) if isinstance(value, str) else None
    refuse_unless(found, "minute")
    year, month, day, hour, minutes = map(int, found.groups())
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    days = [31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    real = 1 <= month <= 12 and 1 <= day <= days[month - 1] and hour < 24 and minutes < 60
    refuse_unless(real, "minute")


ID = pattern(r"[A-Za-z0-9:.-]{1,32}")
CODE = pattern(r"[0-9A-Z.-]{1,32}")
WORD = pattern(r"[a-z0-9_-]{1,32}")
HASH = pattern(r"[0-9a-f]{64}")
KEY_REF = pattern(r"[A-Za-z0-9:.-]{1,32}/[0-9A-Z.-]{1,32}\+[0-9a-f]{8}")
U32, U64 = integer(2**32 - 1), integer(2**64 - 1)
COUNT = or_null(U32)
SEXES = fields({"l": COUNT, "p": COUNT})
FILE = fields({"bytes": U64, "sha256": HASH})
PLACE = {"by": KEY_REF, "election": ID, "genesis": HASH, "log": string}
REASONS = "clerical court ocr_correction psu recount renvoi withdrawn".split()
VERDICTS = "agrees disagrees not_present unreadable".split()
MEDIA = "application/pdf image/jpeg image/png image/webp".split()

DOC = fields(
    {
        "bytes": U32,
        "media": one_of(*MEDIA),
        "page": U32,
        "sha256": HASH,
        "sha256_public": or_null(HASH),
    }
)
ROLE = fields(
    {
        "forms": each(WORD),
        "id": ID,
        "may_grant": each(ID),
        "may_open": each(WORD),
        "may_revise": each(WORD),
        "official": boolean,
    }
)
MANDATED = fields(
    {"contests": or_null(each(ID)), "role": ID, "units": each(CODE), "vkey": string}
)

BODIES = {
    "manifest": fields(
        {
            "bases": each(WORD),
            "decision": or_null(HASH),
            "election": ID,
            "exempt_kinds": each(WORD),
            "genesis": or_null(HASH),
            "levels": each(WORD),
            "log": string,
            "log_keys": each(fields({"from": U64, "until": or_null(U64), "vkey": string})),
            "previous": or_null(HASH),
            "reason": or_null(one_of("court", "keys", "registers", "rules")),
            "registers": fields({"contests": FILE, "units": FILE}),
            "roles": each(ROLE),
            "root_keys": each(string),
            "rounds": each(WORD),
            "station_kinds": each(WORD),
            "station_max": U32,
            "threshold": U32,
            "version": U32,
        },
        {"refusal_key": string},
    ),
    "mandate": fields({**PLACE, "keys": each(MANDATED)}),
    "revocation": fields(
        {
            **PLACE,
            "key": KEY_REF,
            "reason": one_of("compromised", "ended", "lost", "replaced"),
            "subtree": boolean,
        }
    ),
    "tally": fields(
        {
            **PLACE,
            "basis": WORD,
            "children": or_null(fields({"count": U32, "root": HASH})),
            "contest": ID,
            "decision": or_null(HASH),
            "docs": each(DOC),
            "form": WORD,
            "invalid": COUNT,
            "issued_at": minute,
            "prev": or_null(HASH),
            "reason": or_null(one_of(*REASONS)),
            "round": WORD,
            "seq": U32,
            "total": COUNT,
            "unit": CODE,
            "valid": COUNT,
            "votes": mapping(ID, COUNT),
        },
        {
            "ballots": fields({n: COUNT for n in ("received", "returned", "unused", "used")}),
            "registered": SEXES,
            "voters": fields({"dpk": SEXES, "dpt": SEXES, "dptb": SEXES}),
        },
    ),
    "attestation": fields(
        {**PLACE, "contest": ID, "leaf": HASH, "unit": CODE, "verdict": one_of(*VERDICTS)}
    ),
    "state": fields({"contests": U64, "manifest": HASH, "recap": HASH, "size": U64}),
    "freeze": fields(
        {**PLACE, "decision": HASH, "reason": one_of("completed", "compromised", "replaced")}
    ),
}


def parse_body(kind, text):
    """The body of an entry, if it is canonical and of its kind."""
    refuse_unless(kind in BODIES, "malformed")
    body = canonical(text)
    BODIES[kind](body)
    return body


def read_text(text):
    """Kind and body of the two lines that are signed, or that are a state."""
    lines = text.split("\n")
    found = re.fullmatch(r"jejak/([a-z]+)/v1", lines[0])
    refuse_unless(found and len(lines) == 3 and lines[2] == "", "malformed")
    return found[1], parse_body(found[1], lines[1])


class Entry:
    def __init__(self, raw):
        refuse_unless(len(raw) <= ENTRY_LEN_MAX, "too_large")
        if raw.startswith(b"jejak/state/v1\n"):
            # Nobody signs a state: it follows from the entries before it.
            refuse_unless(len(raw) <= STATE_LEN_MAX and raw.isascii(), "malformed")
            self.kind, self.body = read_text(raw.decode())
            self.note, self.signers = None, []
            return
        self.note = Note(raw, SIGNATURES_MAX, ENTRY_LEN_MAX)
        self.kind, self.body = read_text(self.note.text)
        refuse_unless(all(len(line.signature) == 64 for line in self.note.lines), "malformed")
        self.signers = [(line.name, line.id) for line in self.note.lines]
        others = self.signers
        if self.kind != "manifest":
            name, _, key_id = self.body["by"].rpartition("+")
            refuse_unless(self.signers[0] == (name, bytes.fromhex(key_id)), "malformed")
            others = self.signers[1:]
        rising = all(a < b for a, b in zip(others, others[1:]))
        refuse_unless(rising and len(set(self.signers)) == len(self.signers), "malformed")


# Registers

UNIT_HEADER = "unit,parent,kind,name,registered.l,registered.p"


class Units:
    def __init__(self, raw):
        lines = raw.decode().split("\n")
        refuse_unless(lines.pop() == "" and lines.pop(0) == UNIT_HEADER, "registers")
        self.kind, self.parent, self.has_child, self.registered = {}, {}, set(), {}
        self.name = {}
        for unit, parent, kind, name, *sexes in csv.reader(lines, strict=True):
            first = not self.kind
            refuse_unless(unit not in self.kind, "registers")
            refuse_unless((parent == "") == first and (first or parent in self.kind), "registers")
            CODE(unit)
            WORD(kind)
            self.kind[unit], self.parent[unit], self.name[unit] = kind, parent, name
            men, women = sexes
            self.registered[unit] = int(men or 0) + int(women or 0)
            self.has_child.add(parent)

    def above(self, unit):
        """The unit, then what it lies in, up to the top."""
        while unit:
            yield unit
            unit = self.parent[unit]


CONTEST = fields({"id": ID, "options": each(ID), "scope": each(CODE)})


class Contests:
    def __init__(self, raw, units):
        lines = raw.decode().split("\n")
        refuse_unless(lines.pop() == "" and lines, "registers")
        self.options, self.scope = {}, {}
        last = ""
        for line in lines:
            contest = canonical(line)
            CONTEST(contest)
            whole = contest["options"] and contest["scope"]
            refuse_unless(contest["id"] > last and whole, "registers")
            refuse_unless(all(code in units.kind for code in contest["scope"]), "registers")
            last = contest["id"]
            self.options[last] = contest["options"]
            self.scope[last] = set(contest["scope"])
