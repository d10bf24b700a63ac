"""Entries of a Jejak log and the rules by which they follow one another, for `verify.py`.

Written from SPEC.md, in another language and another order than the log's own code: what both
accept and both refuse is what the specification says.
"""

import base64
import binascii
import csv
import hashlib
import json
import re
import unicodedata

ENTRY_LEN_MAX = 65_535
SIGNATURES_MAX = 16
REGISTER_LEN_MAX = 64 << 20


class Failure(Exception):
    """Ends the program with an exit code."""

    def __init__(self, exit_code, message):
        super().__init__(message)
        self.exit = exit_code


class Refused(Exception):
    """Something that a log must not take."""


def refuse_unless(condition, code):
    if not condition:
        raise Refused(code)


# Spellings


def decimal(text, largest):
    refuse_unless(re.fullmatch(r"0|[1-9][0-9]{0,18}", text) and int(text) <= largest, "number")
    return int(text)


def base64_once(text):
    """Padded standard base64 in the one spelling of its bytes."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise Refused("base64") from None
    refuse_unless(base64.b64encode(data).decode() == text, "base64")
    return data


# Ed25519 (RFC 8032): points, to refuse keys that verifiers disagree about

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_1 = pow(2, (P - 1) // 4, P)


def decompress(data):
    y, sign = int.from_bytes(data, "little") & (1 << 255) - 1, data[31] >> 7
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * ROOT_OF_MINUS_1 % P
    if x * x % P != square or (x == 0 and sign):
        return None
    return (P - x if x % 2 != sign else x), y


def add(one, two):
    (x1, y1, z1), (x2, y2, z2) = one, two
    a, b, c, e = z1 * z2 % P, 0, x1 * x2 % P, y1 * y2 % P
    b, f = a * a % P, D * c * e % P
    g, h = (b - f) % P, (b + f) % P
    x = a * g * ((x1 + y1) * (x2 + y2) - c - e) % P
    return x, a * h * (e + c) % P, g * h % P


def multiply(number, point):
    result, step = (0, 1, 1), (*point, 1)
    while number:
        if number & 1:
            result = add(result, step)
        step, number = add(step, step), number >> 1
    return result


def is_neutral(point):
    return point[0] % P == 0 and (point[1] - point[2]) % P == 0


def is_strong(data):
    """A canonical point of prime order: not small, not mixed."""
    point = decompress(data)
    return point is not None and not is_neutral((*point, 1)) and is_neutral(multiply(ORDER, point))


def is_small(data):
    point = decompress(data)
    return point is None or is_neutral(multiply(8, point))


# C2SP signed-note


def valid_name(name):
    spaces = any(c.isspace() or unicodedata.category(c) in ("Zs", "Zl", "Zp") for c in name)
    return bool(name) and not spaces and "+" not in name and min(name) >= " "


class Key:
    """A vkey of a given signature type."""

    strong = {}

    def __init__(self, vkey, kind):
        parts = vkey.split("+", 2)
        refuse_unless(len(parts) == 3 and valid_name(parts[0]), "key")
        self.vkey, self.name = vkey, parts[0]
        material = base64_once(parts[2])
        refuse_unless(len(material) == 33 and material[0] == kind, "key")
        self.public = material[1:]
        digest = hashlib.sha256(self.name.encode() + b"\n" + material).digest()
        self.id = digest[:4]
        refuse_unless(parts[1] == self.id.hex(), "key id")
        if self.public not in Key.strong:
            Key.strong[self.public] = is_strong(self.public)
        refuse_unless(Key.strong[self.public], "weak key")

    def verifies(self, message, signature):
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        if len(signature) != 64 or int.from_bytes(signature[32:], "little") >= ORDER:
            return False
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature:
            return False
        # The first half of a signature is a point as well; few are small, so it is asked last.
        return signature[:32] not in SMALL_POINTS


# The points whose order divides 8, in their canonical encodings.
SMALL_POINTS = {
    bytes.fromhex(text)
    for text in (
        "01" + "00" * 31,
        "ec" + "ff" * 30 + "7f",
        "00" * 32,
        "00" * 31 + "80",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    )
}


class Line:
    def __init__(self, text):
        parts = text.split(" ")
        refuse_unless(len(parts) == 3 and parts[0] == "\u2014" and valid_name(parts[1]), "line")
        data = base64_once(parts[2])
        refuse_unless(len(data) > 4, "line")
        self.name, self.id, self.signature = parts[1], data[:4], data[4:]


class Note:
    def __init__(self, raw, lines_max, len_max):
        refuse_unless(len(raw) <= len_max, "too_large")
        try:
            whole = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise Refused("malformed") from None
        refuse_unless(all(c >= " " or c == "\n" for c in whole), "malformed")
        text, empty, block = whole.rpartition("\n\n")
        refuse_unless(empty and block.endswith("\n"), "malformed")
        self.text = text + "\n"
        lines = block[:-1].split("\n")
        refuse_unless(len(lines) <= lines_max, "malformed")
        self.lines = [Line(line) for line in lines]

    def signed_by(self, keys):
        """The keys that signed; a line by one of them that does not verify refuses the note."""
        signers = []
        for key in keys:
            for line in self.lines:
                if (line.name, line.id) == (key.name, key.id):
                    refuse_unless(key.verifies(self.text.encode(), line.signature), "signature")
                    signers.append(key)
        return signers


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
        }
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


class Entry:
    def __init__(self, raw):
        refuse_unless(len(raw) <= ENTRY_LEN_MAX, "too_large")
        self.note = Note(raw, SIGNATURES_MAX, ENTRY_LEN_MAX)
        lines = self.note.text.split("\n")
        found = re.fullmatch(r"jejak/([a-z]+)/v1", lines[0])
        refuse_unless(found and len(lines) == 3 and lines[2] == "", "malformed")
        self.kind = found[1]
        self.body = parse_body(self.kind, lines[1])
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
        self.kind, self.parent, self.has_child = {}, {}, set()
        for unit, parent, kind, _name, _l, _p in csv.reader(lines, strict=True):
            first = not self.kind
            refuse_unless(unit not in self.kind, "registers")
            refuse_unless((parent == "") == first and (first or parent in self.kind), "registers")
            CODE(unit)
            WORD(kind)
            self.kind[unit], self.parent[unit] = kind, parent
            self.has_child.add(parent)

    def above(self, unit):
        """The unit, then what it lies in, up to the top."""
        while unit:
            yield unit
            unit = self.parent[unit]


class Contests:
    CHECK = fields({"id": ID, "options": each(ID), "scope": each(CODE)})

    def __init__(self, raw, units):
        lines = raw.decode().split("\n")
        refuse_unless(lines.pop() == "" and lines, "registers")
        self.options, self.scope, self.parts = {}, {}, {}
        last = ""
        for line in lines:
            contest = canonical(line)
            self.CHECK(contest)
            refuse_unless(contest["id"] > last and contest["options"] and contest["scope"], "registers")
            refuse_unless(all(code in units.kind for code in contest["scope"]), "registers")
            last = contest["id"]
            self.options[last] = contest["options"]
            self.scope[last] = set(contest["scope"])
            # A region takes part if some of its units do.
            self.parts[last] = {up for code in contest["scope"] for up in units.above(code)}

    def held_in(self, contest, unit, units):
        inside = any(up in self.scope[contest] for up in units.above(unit))
        return inside or unit in self.parts[contest]


# The ledger


class Mandated:
    def __init__(self, key, granted, granter, number):
        self.key, self.granter, self.number = key, granter, number
        self.role = granted["role"] if granted else None
        self.units = granted["units"] if granted else []
        self.contests = granted["contests"] if granted else None
        self.depth = 0 if granted is None else 1 + (granter.depth if granter else 0)
        self.is_root = granted is None

    def covers_unit(self, units, unit):
        return unit in units.kind and any(up in self.units for up in units.above(unit))

    def covers_contest(self, contest):
        return self.contests is None or contest in self.contests


class Ledger:
    """What may be said after all that stands before."""

    def __init__(self, origin, fetch_register):
        self.origin, self.fetch_register = origin, fetch_register
        self.genesis, self.manifest, self.leaf = None, None, None
        self.keys, self.public, self.revoked, self.roots = {}, set(), {}, set()
        self.heads, self.used, self.frozen = {}, set(), False

    def apply(self, raw, leaf):
        entry = Entry(raw)
        refuse_unless(not self.frozen, "log_frozen")
        body, first = entry.body, self.manifest is None
        refuse_unless(body["log"] == self.origin, "invalid_log")
        refuse_unless(first or body["election"] == self.manifest["election"], "invalid_election")
        expected = self.genesis.hex() if self.genesis else None
        refuse_unless(body["genesis"] == expected, "invalid_genesis")
        refuse_unless(not first or entry.kind == "manifest", "invalid_genesis")
        if entry.kind == "manifest":
            self.take_manifest(entry, leaf)
        else:
            signers = self.signers(entry, entry.signers)
            getattr(self, "take_" + entry.kind)(body, signers, leaf)

    def in_force(self, key):
        if key.is_root:
            return key.number in self.roots
        above, fallen = key.granter, key.number in self.revoked
        while above is not None:
            fallen, above = fallen or self.revoked.get(above.number) is True, above.granter
        return not fallen

    def signers(self, entry, names):
        signers = []
        for name in names:
            refuse_unless(name in self.keys, "unknown_key")
            refuse_unless(self.in_force(self.keys[name]), "key_revoked")
            signers.append(self.keys[name])
        signed = entry.note.signed_by([signer.key for signer in signers])
        refuse_unless(len(signed) == len(signers), "bad_signature")
        return signers

    def require_root(self, signers):
        enough = len(signers) >= self.manifest["threshold"]
        refuse_unless(enough and all(key.is_root for key in signers), "out_of_scope")

    def insert(self, key, granted, granter):
        name = (key.name, key.id)
        refuse_unless(name not in self.keys and key.public not in self.public, "duplicate")
        self.keys[name] = Mandated(key, granted, granter, len(self.keys))
        self.public.add(key.public)

    def take_manifest(self, entry, leaf):
        body, old = entry.body, self.manifest
        self.check_manifest(body)
        refuse_unless(body["previous"] == (self.leaf.hex() if old else None), "invalid_previous")
        refuse_unless(body["version"] == (old["version"] + 1 if old else 1), "invalid_version")
        refuse_unless((body["reason"] is None) == (old is None), "invalid_reason")
        refuse_unless((body["decision"] is None) == (old is None), "invalid_decision")
        roots = [Key(vkey, 1) for vkey in body["root_keys"]]
        names = [(key.name, key.id) for key in roots]
        for key in roots:
            role, _, unit = key.name.partition("/")
            refuse_unless(role == "root", "invalid_root_keys")
            CODE(unit)
        new = [key for key in roots if (key.name, key.id) not in self.keys]
        added = {(key.name, key.id) for key in new}
        kept = [self.keys[name] for name in names if name not in added]
        refuse_unless(all(key.number in self.roots for key in kept), "duplicate")
        self.signers(entry, [name for name in entry.signers if name not in added])
        if old:
            self.require_root([self.keys[n] for n in entry.signers if n not in added])
        signed = entry.note.signed_by(new)
        refuse_unless(len(signed) == len(new), "out_of_scope")
        units = Units(self.register(body["registers"]["units"]))
        contests = Contests(self.register(body["registers"]["contests"]), units)
        self.check_levels(body, units)
        for contest, round_ in self.used:
            same = contests.options.get(contest) == self.contests.options[contest]
            refuse_unless(same, "invalid_registers")
            refuse_unless(round_ in body["rounds"], "invalid_rounds")
        for key in new:
            self.insert(key, None, None)
        self.roots = {self.keys[name].number for name in names}
        self.manifest, self.leaf, self.units, self.contests = body, leaf, units, contests
        self.genesis = self.genesis or leaf

    def register(self, file):
        raw = self.fetch_register(file["sha256"])
        good = len(raw) == file["bytes"] <= REGISTER_LEN_MAX
        refuse_unless(good and hashlib.sha256(raw).hexdigest() == file["sha256"], "registers")
        return raw

    @staticmethod
    def check_manifest(body):
        roots, levels, stations = body["root_keys"], body["levels"], body["station_kinds"]
        refuse_unless(1 <= len(roots) <= SIGNATURES_MAX, "invalid_root_keys")
        refuse_unless(1 <= body["threshold"] <= len(roots), "invalid_threshold")
        for name in ("levels", "station_kinds", "rounds", "bases"):
            refuse_unless(body[name] and is_set(body[name]), "invalid_" + name)
        refuse_unless(set(stations) <= set(levels), "invalid_station_kinds")
        refuse_unless(set(body["exempt_kinds"]) <= set(stations), "invalid_exempt_kinds")
        ids = [role["id"] for role in body["roles"]]
        refuse_unless(ids and is_set(ids) and "root" not in ids, "invalid_roles")
        for role in body["roles"]:
            kinds = set(role["may_open"]) | set(role["may_revise"])
            good = kinds <= set(levels) and set(role["may_grant"]) <= set(ids)
            refuse_unless(good, "invalid_roles")
        keys = [Key(key["vkey"], 1) for key in body["log_keys"]]
        refuse_unless(keys and all(key.name == body["log"] for key in keys), "invalid_log_keys")

    @staticmethod
    def check_levels(body, units):
        rank = {kind: place for place, kind in enumerate(body["levels"])}
        for unit, kind in units.kind.items():
            refuse_unless(kind in rank, "invalid_registers")
            parent = units.parent[unit]
            lower = not parent or rank[units.kind[parent]] < rank[kind]
            leaf = kind not in body["station_kinds"] or unit not in units.has_child
            refuse_unless(lower and leaf, "invalid_registers")

    def take_mandate(self, body, signers, _leaf):
        author = signers[0]
        if author.is_root:
            self.require_root(signers)
        refuse_unless(1 <= len(body["keys"]) <= 400, "invalid_keys")
        granters = [] if author.is_root else signers
        for granted in body["keys"]:
            self.check_grant(granted, granters)
            self.insert(Key(granted["vkey"], 1), granted, granters[0] if granters else None)

    def check_grant(self, granted, granters):
        key, units, contests = Key(granted["vkey"], 1), granted["units"], granted["contests"]
        refuse_unless(0 < len(units) <= 256 and is_rising(units), "invalid_units")
        refuse_unless(all(unit in self.units.kind for unit in units), "invalid_unit")
        refuse_unless(contests is None or contests and is_rising(contests), "invalid_contests")
        known = all(contest in self.contests.options for contest in contests or [])
        refuse_unless(known, "invalid_contest")
        role, _, unit = key.name.partition("/")
        refuse_unless(role == granted["role"] and unit in units, "invalid_name")
        refuse_unless(self.role(role) is not None, "invalid_role")
        for granter in granters:
            rules = self.role(granter.role)
            may = rules and role in rules["may_grant"] and granter.depth < 8
            inside = all(granter.covers_unit(self.units, unit) for unit in units)
            wide = granter.contests is None
            covered = wide if contests is None else all(map(granter.covers_contest, contests))
            refuse_unless(may and inside and covered, "out_of_scope")

    def role(self, name):
        return next((role for role in self.manifest["roles"] if role["id"] == name), None)

    def take_revocation(self, body, signers, _leaf):
        name, _, key_id = body["key"].rpartition("+")
        key = self.keys.get((name, bytes.fromhex(key_id)))
        refuse_unless(key and not key.is_root, "invalid_key")
        above, fallen = [key], False
        while above[-1].granter is not None:
            above.append(above[-1].granter)
            fallen = fallen or self.revoked.get(above[-1].number) is True
        if signers[0].is_root:
            self.require_root(signers)
        else:
            refuse_unless(all(signer in above for signer in signers), "out_of_scope")
        known = self.revoked.get(key.number)
        adds = known is None or (known is False and body["subtree"])
        refuse_unless(adds and not fallen, "duplicate")
        self.revoked[key.number] = body["subtree"]

    def take_freeze(self, _body, signers, _leaf):
        self.require_root(signers)
        self.frozen = True

    def take_tally(self, body, signers, leaf):
        contest, unit, author = body["contest"], body["unit"], signers[0]
        refuse_unless(contest in self.contests.options, "invalid_contest")
        held = unit in self.units.kind and self.contests.held_in(contest, unit, self.units)
        refuse_unless(held, "invalid_unit")
        self.check_statement(body)
        for signer in signers:
            covers = signer.covers_unit(self.units, unit) and signer.covers_contest(contest)
            refuse_unless(covers and not signer.is_root, "out_of_scope")
        role, kind = self.role(author.role), self.units.kind[unit]
        refuse_unless(role and body["form"] in role["forms"], "out_of_scope")
        may = role["may_open"] if body["seq"] == 0 else role["may_revise"]
        refuse_unless(kind in may, "out_of_scope")
        owner = None if role["official"] else author.number
        chain = (contest, unit, body["round"], owner)
        seq, prev = self.heads.get(chain, (-1, None))
        follows = body["seq"] == seq + 1 and body["prev"] == (prev.hex() if prev else None)
        refuse_unless(follows, "conflict")
        self.heads[chain] = (body["seq"], leaf)
        self.used.add((contest, body["round"]))

    def check_statement(self, body):
        refuse_unless(body["round"] in self.manifest["rounds"], "invalid_round")
        refuse_unless(body["basis"] in self.manifest["bases"], "invalid_basis")
        options = self.contests.options[body["contest"]]
        refuse_unless(set(options) == set(body["votes"]), "invalid_votes")
        pages = [(doc["page"], doc["sha256"]) for doc in body["docs"]]
        good = len(pages) <= 64 and is_rising(pages) and all(page > 0 for page, _ in pages)
        refuse_unless(good, "invalid_docs")
        station = self.units.kind[body["unit"]] in self.manifest["station_kinds"]
        refuse_unless(body["children"] is None or not station, "invalid_children")
        for name in ("prev", "reason", "decision"):
            refuse_unless((body[name] is not None) == (body["seq"] > 0), "invalid_" + name)
        if body["reason"] == "withdrawn":
            sections = {"ballots", "registered", "voters"} & body.keys()
            numbers = [body["valid"], body["invalid"], body["total"], *body["votes"].values()]
            blank = not sections and all(number is None for number in numbers)
            refuse_unless(blank, "invalid_reason")


def is_set(items):
    return len(items) <= 64 and len(set(items)) == len(items)


def is_rising(items):
    return all(a < b for a, b in zip(items, items[1:]))
