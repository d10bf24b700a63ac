#!/usr/bin/env python3
"""Generates bodies of entries, good and broken, with the verdict of a second parser on each.

    canonical.py COUNT SEED

Writes one record a document to stdout: 1 byte verdict (`1` taken, `0` refused), 4 bytes length
(big-endian), the bytes: the kind, a newline, the JSON. The same seed gives the same documents.
"""

import json
import random
import sys

import entries
from notes import Refused

WORDS = ["regular", "psu", "form_signed", "c-hasil", "tps", "a", "z" * 32, "0", "_-"]
IDS = ["ppwp", "dpr:3101", "01", "A.b-C:9", "x" * 32, "0"]
CODES = ["ID", "3173011005115", "99.KSK-1", "Z" * 32, "-", "."]
KEYS = ["kpps/3173011005115+1a2b3c4d", "root/ID+00000000", "a:b/Z.9+ffffffff"]
U32S = [0, 1, 9, 10, 300, 999, 2**31, 2**32 - 1]
U64S = [*U32S, 2**32, 2**53 + 1, 2**63, 2**64 - 1]
TIMES = ["2024-02-14T07:05Z", "2024-02-29T23:59Z", "2000-02-29T00:00Z", "9999-12-31T00:00Z"]
TEXTS = ["log.example/2024/ppwp", "", " ", "~!#$%&'()*+,-./:;<=>?@[]^`{|}", "a+b+c"]

# What stands where something else is expected.
STRANGE = [None, True, False, 0, -1, 2**32, 2**64, 1.0, 1.5, "", "A", "a b", [], {}, [[]], [None]]
STRANGE += ["\u00e9", "\u0000", "a\"b", "a\\b", "\u2028", "x" * 33, "2023-02-29T00:00Z", [1], {"a": 1}]
STRANGE += ["2024-02-30T00:00Z", "2024-2-3T00:00Z", "A" * 64, "0" * 63, "0" * 65, "root/ID+0000000G"]


KINDS = ["attestation", "freeze", "mandate", "manifest", "revocation", "state", "tally"]


class Maker:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def pick(self, items):
        return self.random.choice(items)

    def hash(self):
        return "%064x" % self.random.getrandbits(256)

    def or_null(self, make):
        return None if self.random.random() < 0.3 else make()

    def some(self, make, largest=3):
        return [make() for _ in range(self.random.randrange(largest + 1))]

    def count(self):
        return self.or_null(lambda: self.pick(U32S))

    def counts(self, names):
        return {name: self.count() for name in names}

    def place(self):
        text = self.pick(TEXTS)
        return {"by": self.pick(KEYS), "election": self.pick(IDS), "genesis": self.hash(), "log": text}

    def words(self):
        return self.some(lambda: self.pick(WORDS))

    def ids(self):
        return self.some(lambda: self.pick(IDS))

    def file(self):
        return {"bytes": self.pick(U64S), "sha256": self.hash()}

    def role(self):
        names = ("forms", "may_open", "may_revise")
        flags = {"id": self.pick(IDS), "may_grant": self.ids(), "official": self.pick([True, False])}
        return {**{name: self.words() for name in names}, **flags}

    def log_key(self):
        until = self.or_null(lambda: self.pick(U64S))
        return {"from": self.pick(U64S), "until": until, "vkey": self.pick(TEXTS)}

    def manifest(self):
        lists = ("bases", "exempt_kinds", "levels", "rounds", "station_kinds")
        reasons = ["court", "keys", "registers", "rules"]
        return {
            **{name: self.words() for name in lists},
            **{name: self.pick(U32S) for name in ("station_max", "threshold", "version")},
            **{name: self.or_null(self.hash) for name in ("decision", "genesis", "previous")},
            "election": self.pick(IDS),
            "log": self.pick(TEXTS),
            "log_keys": self.some(self.log_key),
            "reason": self.or_null(lambda: self.pick(reasons)),
            **({"refusal_key": self.pick(TEXTS)} if self.random.random() < 0.5 else {}),
            "registers": {"contests": self.file(), "units": self.file()},
            "roles": self.some(self.role),
            "root_keys": self.some(lambda: self.pick(TEXTS)),
        }

    def mandated(self):
        contests, units = self.or_null(self.ids), self.some(lambda: self.pick(CODES))
        role, vkey = self.pick(IDS), self.pick(TEXTS)
        return {"contests": contests, "role": role, "units": units, "vkey": vkey}

    def mandate(self):
        return {**self.place(), "keys": self.some(self.mandated)}

    def revocation(self):
        reason = self.pick(["compromised", "ended", "lost", "replaced"])
        key, subtree = self.pick(KEYS), self.pick([True, False])
        return {**self.place(), "key": key, "reason": reason, "subtree": subtree}

    def doc(self):
        public, media = self.or_null(self.hash), self.pick(entries.MEDIA)
        numbers = {name: self.pick(U32S) for name in ("bytes", "page")}
        return {**numbers, "media": media, "sha256": self.hash(), "sha256_public": public}

    def tally(self):
        sexes = lambda: self.counts("lp")
        sections = {
            "ballots": self.counts(["received", "returned", "unused", "used"]),
            "registered": sexes(),
            "voters": {name: sexes() for name in ("dpk", "dpt", "dptb")},
        }
        chosen = {name: body for name, body in sections.items() if self.random.random() < 0.5}
        children = {"count": self.pick(U32S), "root": self.hash()}
        return {
            **self.place(),
            **chosen,
            **{name: self.pick(WORDS) for name in ("basis", "form", "round")},
            **self.counts(["invalid", "total", "valid"]),
            **{name: self.or_null(self.hash) for name in ("decision", "prev")},
            "children": self.or_null(lambda: children),
            "contest": self.pick(IDS),
            "docs": self.some(self.doc),
            "issued_at": self.pick(TIMES),
            "reason": self.or_null(lambda: self.pick(entries.REASONS)),
            "seq": self.pick(U32S),
            "unit": self.pick(CODES),
            "votes": {self.pick(IDS): self.count() for _ in range(self.random.randrange(4))},
        }

    def freeze(self):
        reason = self.pick(["completed", "compromised", "replaced"])
        return {**self.place(), "decision": self.hash(), "reason": reason}

    def attestation(self):
        contest, unit, leaf = self.pick(IDS), self.pick(CODES), self.hash()
        said = {"contest": contest, "leaf": leaf, "unit": unit}
        return {**self.place(), **said, "verdict": self.pick(entries.VERDICTS)}

    def state(self):
        numbers = {name: self.pick(U64S) for name in ("contests", "size")}
        return {**numbers, "manifest": self.hash(), "recap": self.hash()}

    # What can be wrong with the value.

    def break_value(self, body):
        """Changes one place somewhere in the value."""
        spots = list(self.spots(body))
        container, key = self.pick(spots)
        deed = self.random.randrange(4)
        if deed == 0 and isinstance(container, dict):
            del container[key]
        elif deed == 1 and isinstance(container, dict):
            container[self.pick(["extra", "", "A", "zz", key + "s"])] = self.pick(STRANGE)
        elif deed == 2 and isinstance(container[key], dict):
            container[key] = list(container[key].values())
        else:
            container[key] = self.pick(STRANGE)
        return body

    def spots(self, value):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in list(items):
            yield value, key
            if isinstance(item, (dict, list)):
                yield from self.spots(item)

    # What can be wrong with the spelling.

    def break_text(self, text):
        at = self.random.randrange(len(text))
        deeds = [self.swap, self.space, self.number, self.twice, self.escape, self.shuffle, self.cut]
        return self.pick(deeds)(text, at)

    def swap(self, text, at):
        new = self.pick(list('{}[]",:0123456789-+.eE nulltrefasN\t\n\x7f\u00e9A'))
        return text[:at] + new + text[at + self.pick([0, 1]) :]

    def space(self, text, at):
        at = self.places(text, ",:{}[]", at)
        return text[:at] + self.pick([" ", "\n", "\t", "\r", "\u00a0", "\ufeff"]) + text[at:]

    def number(self, text, at):
        at = self.places(text, "0123456789", at)
        return text[:at] + self.pick(["0", "-", "+", "1e", ".", "0x", "00", "e", "_"]) + text[at:]

    def twice(self, text, _at):
        body = json.loads(text)
        key = self.pick(sorted(body))
        field = json.dumps({key: body[key]}, sort_keys=True, separators=(",", ":"))[1:-1]
        return text.replace(field, f"{field},{field}", 1)

    def escape(self, text, at):
        at = self.places(text, "abcdefghijklmnopqrstuvwxyz/", at)
        spelled = self.pick(["\\u%04x" % ord(text[at]), "\\" + text[at], "\\u%04X" % ord(text[at])])
        return text[:at] + spelled + text[at + 1 :]

    def shuffle(self, text, _at):
        body = list(json.loads(text).items())
        self.random.shuffle(body)
        return json.dumps(dict(body), separators=(",", ":"))

    def cut(self, text, at):
        return self.pick([text[:at], text + self.pick(["}", " ", ",", "{}", "\n"]), "", "null", "[]"])

    @staticmethod
    def places(text, of, at):
        """The next place at or after `at` that holds one of these."""
        return next((i for i in range(at, len(text)) if text[i] in of), at)

    def document(self):
        kind = self.pick(["tally", *KINDS])
        body = getattr(self, kind)()
        deed = self.random.randrange(10)
        if deed in (3, 4, 5):
            body = self.break_value(body)
        text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=deed != 5)
        if deed in (6, 7, 8):
            text = self.break_text(text)
        if deed == 9:
            kind = self.pick([*KINDS, "states", ""])
        return kind, text


def taken(kind, text):
    try:
        entries.parse_body(kind, text)
    except Refused:
        return False
    return True


def main(count, seed):
    maker = Maker(seed)
    for _ in range(count):
        kind, text = maker.document()
        document = f"{kind}\n{text}".encode()
        verdict = b"1" if taken(kind, text) else b"0"
        sys.stdout.buffer.write(verdict + len(document).to_bytes(4, "big") + document)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
