#!/usr/bin/env python3
"""Verifies a Jejak log with no line of Jejak's own code: written from SPEC.md and the standards.

    verify.py receipt POLICY NOTE PROOF   is this entry logged?
    verify.py recap POLICY PROOF          is this the record of a unit, and in every total above?
    verify.py log POLICY URL              fetch everything, recompute everything
    verify.py replay ORIGIN FILE DIR      apply the entries of a file, framed as in a bundle, with
                                          the registers in a directory; show every state
    verify.py evidence POLICY FILE...     do these files convict the log?
    verify.py selftest                    known answers of the standards

Plain Python 3.9 or later; signatures need the package `cryptography`. Exit codes as `jejak`:
0 ok, 1 failure, 2 usage, 13 log signature, 14 quorum, 15 inclusion, 16 fork, 18 recap mismatch,
19 the log broke its own rules, 69 unreachable.
"""

import base64
import concurrent.futures
import hashlib
import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request

import evidence
import ledger
import notes
import recap
from entries import Entry
from notes import Failure, Refused

OK, FAILURE, USAGE = 0, 1, 2
LOG_SIGNATURE, QUORUM, INCLUSION, FORK = 13, 14, 15, 16
RECAP, RULES_BROKEN, UNREACHABLE = 18, 19, 69

SIZE_MAX = notes.SIZE_MAX
FETCHES = 8
RECEIPTS_MAX = 64
# Of each contest.
UNITS_MAX = 16


# RFC 6962, Section 2.1


def leaf_hash(entry):
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


EMPTY_ROOT = hashlib.sha256(b"").digest()


def split(size):
    """The largest power of two below the size."""
    return 1 << (size - 1).bit_length() - 1


def root_of(hashes):
    """The root over any number of leaf hashes, level by level: a lone last node moves up."""
    if not hashes:
        return EMPTY_ROOT
    row = list(hashes)
    while len(row) > 1:
        above = [node_hash(row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)]
        if len(row) % 2:
            above.append(row[-1])
        row = above
    return row[0]


def root_from_inclusion(size, index, leaf, proof):
    """The definition of PATH(m, D[n]) read backwards."""
    if size == 1:
        if proof:
            raise Failure(INCLUSION, "an inclusion proof that is too long")
        return leaf
    if not proof:
        raise Failure(INCLUSION, "an inclusion proof that is too short")
    k, last = split(size), proof[-1]
    if index < k:
        return node_hash(root_from_inclusion(k, index, leaf, proof[:-1]), last)
    return node_hash(last, root_from_inclusion(size - k, index - k, leaf, proof[:-1]))


def check_inclusion(size, root, index, leaf, proof):
    if not 0 <= index < size or root_from_inclusion(size, index, leaf, proof) != root:
        raise Failure(INCLUSION, f"entry {index} is not proved to be in the tree of {size}")


def roots_from_consistency(old, new, proof, whole, old_root):
    """The definition of SUBPROOF(m, D[n], b) read backwards: the old root and the new."""
    if old == new:
        if whole:
            if proof:
                raise Failure(FORK, "a consistency proof that is too long")
            return old_root, old_root
        if len(proof) != 1:
            raise Failure(FORK, "a consistency proof of the wrong length")
        return proof[0], proof[0]
    if not proof:
        raise Failure(FORK, "a consistency proof that is too short")
    k, last, rest = split(new), proof[-1], proof[:-1]
    if old <= k:
        left_old, left_new = roots_from_consistency(old, k, rest, whole, old_root)
        return left_old, node_hash(left_new, last)
    right_old, right_new = roots_from_consistency(old - k, new - k, rest, False, old_root)
    return node_hash(last, right_old), node_hash(last, right_new)


def check_consistency(old, old_root, new, new_root, proof):
    if old == 0 or old == new:
        good = not proof and old_root == (EMPTY_ROOT if old == 0 else new_root)
    else:
        good = old < new and roots_from_consistency(old, new, proof, True, old_root) == (
            old_root,
            new_root,
        )
    if not good:
        raise Failure(FORK, f"the tree of {new} is not proved to extend that of {old}")


def check_batch(size, root, leaves, proof):
    """One compact proof for several leaves {index: hash}: level by level, each missing sibling."""
    known, rest, last = dict(leaves), list(proof), size - 1
    if not known or max(known) > last:
        raise Failure(INCLUSION, "a batch proof for entries beyond the tree")
    while last > 0:
        above = {}
        for index in sorted(known):
            if index // 2 in above:
                continue
            sibling, value = index ^ 1, known[index]
            if sibling <= last:
                if sibling not in known and not rest:
                    raise Failure(INCLUSION, "a batch proof that is too short")
                other = known[sibling] if sibling in known else rest.pop(0)
                value = node_hash(value, other) if index % 2 == 0 else node_hash(other, value)
            above[index // 2] = value
        known, last = above, last // 2
    if rest or known != {0: root}:
        raise Failure(INCLUSION, f"a batch proof that fails in the tree of {size}")


# C2SP tlog-checkpoint, tlog-cosignature, tlog-policy, tlog-proof


class Checkpoint:
    def __init__(self, raw):
        self.note = notes.Note(raw, 64, 256 * 1024)
        lines = self.note.text.split("\n")
        if len(lines) < 4 or not all(lines[:-1]):
            raise Failure(FAILURE, "a checkpoint without its three lines")
        self.origin, size, root = lines[0], lines[1], lines[2]
        if self.origin.startswith("jejak/") or self.origin == "cosignature/v1":
            raise Failure(FAILURE, "a reserved origin")
        self.size = notes.decimal(size, SIZE_MAX)
        self.root = notes.base64_once(root)
        if len(self.root) != 32 or (self.size == 0 and self.root != EMPTY_ROOT):
            raise Failure(FAILURE, "a checkpoint with an impossible root")


class Policy:
    def __init__(self, text):
        self.logs, self.witnesses, self.members = [], {}, {}
        self.genesis, self.quorum, self.url = {}, None, None
        for line in text.split("\n"):
            words = line.split()
            if words[:2] == ["#", "jejak-genesis"]:
                self.genesis[words[2]] = bytes.fromhex(words[3])
            elif words and not words[0].startswith("#"):
                getattr(self, "line_" + words[0])(*words[1:])
        if self.quorum is None or not self.logs:
            raise Failure(FAILURE, "a policy without a log or a quorum")

    def line_log(self, vkey, url=None):
        self.logs.append(notes.Key(vkey, notes.ED25519, notes.ML_DSA_44))
        self.url = self.url or url

    def line_witness(self, name, vkey, _url=None):
        self.witnesses[name] = notes.Key(vkey, notes.COSIGNATURE, notes.ML_DSA_44)

    def line_group(self, name, k, *members):
        need = {"all": len(members), "any": 1}.get(k) or int(k)
        self.members[name] = (need, members)

    def line_quorum(self, name):
        self.quorum = name

    def met(self, name, seen):
        if name in self.witnesses:
            return name in seen
        need, members = self.members[name]
        return sum(self.met(member, seen) for member in members) >= need

    def verify_log(self, checkpoint):
        """Whether the log signed; the witnesses are not asked."""
        keys = [key for key in self.logs if key.name == checkpoint.origin]
        try:
            signed = checkpoint.note.signed_by(keys)
        except Refused:
            raise Failure(LOG_SIGNATURE, "a signature of the log does not verify") from None
        if not signed:
            raise Failure(LOG_SIGNATURE, "no key of the policy signed the checkpoint")

    def verify(self, checkpoint):
        self.verify_log(checkpoint)
        seen = set()
        for name, key in self.witnesses.items():
            for line in checkpoint.note.lines:
                if (line.name, line.id) == (key.name, key.id):
                    seen.add(self.cosigned(checkpoint, name, key, line.signature))
        if self.quorum != "none" and not self.met(self.quorum, seen):
            raise Failure(QUORUM, "the cosignatures are no quorum")

    @staticmethod
    def cosigned(checkpoint, name, key, signature):
        time = int.from_bytes(signature[:8], "big")
        if time == 0 or not key.signed(checkpoint.note.text, signature):
            raise Failure(QUORUM, "a cosignature does not verify")
        return name


class Receipt:
    def __init__(self, raw):
        head, _, note = raw.partition(b"\n\n")
        lines = head.decode("ascii").split("\n")
        if lines.pop(0) != "c2sp.org/tlog-proof@v1":
            raise Failure(FAILURE, "not a .tlog-proof")
        if lines and lines[0].startswith("extra "):
            notes.base64_once(lines.pop(0)[6:])
        if not lines or not lines[0].startswith("index "):
            raise Failure(FAILURE, "a receipt without an index")
        self.index = notes.decimal(lines.pop(0)[6:], SIZE_MAX)
        self.proof = [notes.base64_once(line) for line in lines]
        if len(self.proof) > 63 or any(len(value) != 32 for value in self.proof):
            raise Failure(FAILURE, "a receipt with an impossible proof")
        self.checkpoint = Checkpoint(note)

    def verify(self, policy, entry):
        policy.verify(self.checkpoint)
        size, root = self.checkpoint.size, self.checkpoint.root
        check_inclusion(size, root, self.index, leaf_hash(entry), self.proof)


# C2SP tlog-tiles


def tile_path(level, index, width):
    groups = [f"{index % 1000:03}"]
    while index >= 1000:
        index //= 1000
        groups.insert(0, f"x{index % 1000:03}")
    return f"tile/{level}/{'/'.join(groups)}" + ("" if width == 256 else f".p/{width}")


class Site:
    """A place that serves a log."""

    def __init__(self, base):
        self.base = base.rstrip("/")
        host = urllib.parse.urlsplit(self.base).hostname
        local = host in ("localhost", "127.0.0.1", "::1")
        handlers = [urllib.request.ProxyHandler({})] if local else []
        self.opener = urllib.request.build_opener(*handlers)

    def get(self, path, missing_ok=False):
        try:
            with self.opener.open(f"{self.base}/{path}", timeout=60) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            if error.code == 404 and missing_ok:
                return None
            raise Failure(FAILURE, f"{path}: status {error.code}") from None
        except OSError as error:
            raise Failure(UNREACHABLE, f"{self.base}: {error}") from None

    def proof(self, path, **numbers):
        answer = json.loads(self.get(path))
        for name, value in numbers.items():
            if answer[name] != value:
                raise Failure(FAILURE, f"{path} answers for another {name}")
        return [notes.base64_once(value) for value in answer["hashes"]]


def entries_of(bundle, width=None):
    entries, at = [], 0
    while at < len(bundle):
        end = at + 2 + int.from_bytes(bundle[at : at + 2], "big")
        entries.append(bundle[at + 2 : end])
        at = end
    if at != len(bundle) or len(entries) != (width or len(entries)):
        raise Failure(RULES_BROKEN, "a bundle that is not a whole number of entries")
    return entries


def bundles(site, size):
    """All entries in order, fetched several bundles at a time."""
    spans = [(first // 256, min(256, size - first)) for first in range(0, size, 256)]
    with concurrent.futures.ThreadPoolExecutor(FETCHES) as pool:
        for start in range(0, len(spans), 8 * FETCHES):
            part = spans[start : start + 8 * FETCHES]
            paths = [tile_path("entries", index, width) for index, width in part]
            for (_, width), bundle in zip(part, pool.map(site.get, paths)):
                yield from entries_of(bundle, width)


def check_tiles(site, leaves):
    """Every tile against hashes recomputed from the entries."""
    level, row, count = 0, leaves, 0
    while row:
        spans = [(first // 256, row[first : first + 256]) for first in range(0, len(row), 256)]
        paths = [tile_path(level, index, len(hashes)) for index, hashes in spans]
        with concurrent.futures.ThreadPoolExecutor(FETCHES) as pool:
            for path, (_, hashes), tile in zip(paths, spans, pool.map(site.get, paths)):
                if tile != b"".join(hashes):
                    raise Failure(RULES_BROKEN, f"{path} does not follow from the entries")
        full = len(row) // 256 * 256
        row, count = [root_of(row[i : i + 256]) for i in range(0, full, 256)], count + len(paths)
        level += 1
    return count


def ranges_of(indexes):
    """The one spelling of rising indexes: neighbours as one range."""
    runs = []
    for index in indexes:
        if runs and runs[-1][-1] + 1 == index:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def check_routes(site, policy, entries, leaves, checkpoint):
    """What a server proves: receipts, inclusion, consistency and batch proofs."""
    size, root = checkpoint.size, checkpoint.root
    if size == 0 or site.get(f"proof/inclusion/{size}/0", missing_ok=True) is None:
        return 0
    step = max(1, size // RECEIPTS_MAX)
    edges = {0, size - 1, *(i for i in (255, 256, 257, size // 2) if i < size)}
    indexes = sorted(edges | set(range(0, size, step)))
    for index in indexes:
        proof = site.proof(f"proof/inclusion/{size}/{index}", size=size, index=index)
        check_inclusion(size, root, index, leaves[index], proof)
        receipt = Receipt(site.get(f"receipt/{index}"))
        receipt.verify(policy, entries[index])
        if receipt.index != index or site.get(f"entry/{index}") != entries[index]:
            raise Failure(RULES_BROKEN, f"another entry is served as {index}")
        if json.loads(site.get(f"leaf/{leaves[index].hex()}"))["index"] != index:
            raise Failure(RULES_BROKEN, f"another index is served for entry {index}")
        old_root = root_of(leaves[:index])
        proof = site.proof(f"proof/consistency/{index}/{size}", old=index, new=size)
        check_consistency(index, old_root, size, root, proof)
    some = indexes[:16]
    proof = site.proof(f"proof/batch/{size}/{ranges_of(some)}", size=size, indexes=some)
    check_batch(size, root, {index: leaves[index] for index in some}, proof)
    whole = list(range(min(size, 1024)))
    if len(whole) > 1:
        proof = site.proof(f"proof/batch/{size}/0-{whole[-1]}", size=size, indexes=whole)
        check_batch(size, root, {index: leaves[index] for index in whole}, proof)
    return len(indexes)


def check_units(site, policy, book, size):
    """What a server says about units, against the recap of the entries."""
    count = 0
    for contest, children in book.recap.children.items():
        units = list(children)
        for unit in units[:: max(1, len(units) // UNITS_MAX)]:
            for path, want in book.recap.answers(contest, unit, size).items():
                raw = site.get(path, missing_ok=True)
                if raw is None:
                    return count
                found, of = read_answer(policy, path, raw)
                if of != size:
                    return count
                if found != want:
                    raise Failure(RULES_BROKEN, f"{path} does not follow from the entries")
            count += 1
    return count


def read_answer(policy, path, raw):
    """What is answered about a unit, and the size that it is about."""
    if path.startswith("recap-proof/"):
        found, receipt = check_recap(policy, raw)
        return found["unit"], receipt.checkpoint.size
    answer = json.loads(raw)
    return answer, answer["size"]


def verify_log(policy_path, url):
    policy = Policy(read(policy_path).decode())
    site = Site(url)
    checkpoint = Checkpoint(site.get("checkpoint"))
    policy.verify(checkpoint)
    book = ledger.Ledger(checkpoint.origin, lambda sha256: site.get(f"register/{sha256}"))
    kept, leaves, flags = [], [], 0
    for index, entry in enumerate(bundles(site, checkpoint.size)):
        leaves.append(leaf_hash(entry))
        kept.append(entry)
        if index == 0 and leaves[0] != policy.genesis.get(checkpoint.origin):
            raise Failure(FORK, "entry 0 is not the genesis that the policy pins")
        try:
            book.apply(entry, leaves[-1])
        except Refused as refused:
            raise Failure(RULES_BROKEN, f"entry {index} should have been refused: {refused}")
    if root_of(leaves) != checkpoint.root:
        raise Failure(RULES_BROKEN, "the signed root does not follow from the entries")
    tiles = check_tiles(site, leaves)
    routes = check_routes(site, policy, kept, leaves, checkpoint)
    sealed = book.covered == checkpoint.size
    units = check_units(site, policy, book, checkpoint.size) if sealed else 0
    counts = f"{tiles} tiles, {routes} receipts, {units} units, {len(book.keys)} keys"
    print(f"{checkpoint.size} entries, {counts}: ok")


def verify_receipt(policy_path, note_path, proof_path):
    policy, entry = Policy(read(policy_path).decode()), read(note_path)
    Entry(entry)
    receipt = Receipt(read(proof_path))
    receipt.verify(policy, entry)
    size = receipt.checkpoint.size
    print(f"logged as entry {receipt.index} of {size} in {receipt.checkpoint.origin}")


def check_recap(policy, raw):
    """The order of SPEC.md: form, receipt of the state, the state, then the path."""
    path, state, receipt = recap.split_file(raw)
    path = recap.read_path(path)
    entry, receipt = Entry(state), Receipt(receipt)
    if entry.kind != "state":
        raise Failure(FAILURE, "a recap proof without a state entry")
    receipt.verify(policy, state)
    if receipt.index + 1 != receipt.checkpoint.size or receipt.index != entry.body["size"]:
        raise Failure(RECAP, "the state is not the last entry, or covers another size")
    try:
        recap.check_path(path, entry.body)
    except Refused as refused:
        raise Failure(RECAP, f"the recap proof fails: {refused}") from None
    return path, receipt


def verify_recap(policy_path, proof_path):
    path, receipt = check_recap(Policy(read(policy_path).decode()), read(proof_path))
    unit, origin, size = path["unit"], receipt.checkpoint.origin, receipt.checkpoint.size
    print(f"{path['contest']} {unit['unit']}: {unit['record']['status']} {unit['counters']}")
    print(f"committed to by {origin} at size {size}")


def replay(origin, file, directory):
    book = ledger.Ledger(origin, lambda sha256: read(os.path.join(directory, sha256)))
    for index, raw in enumerate(entries_of(read(file))):
        try:
            book.apply(raw, leaf_hash(raw))
        except Refused as refused:
            raise Failure(RULES_BROKEN, f"entry {index} should have been refused: {refused}")
        if book.covered == index + 1:
            print(f"state {index} {book.recap.root().hex()}")


def verify_evidence(policy_path, *paths):
    """Says of each file what it convicts of; ends with 1 if one of them convicts of nothing."""
    judge = evidence.Judge(sys.modules[__name__], Policy(read(policy_path).decode()))
    innocent = 0
    for path in paths:
        try:
            kind, origin, rule = judge.judge(read(path))
        except (evidence.Innocent, Failure, Refused, ValueError, KeyError, TypeError) as why:
            innocent += 1
            print(f"innocent: {why}")
        else:
            print(f"{kind} convicts {origin} by {rule}")
    if innocent:
        raise Failure(FAILURE, f"{innocent} of {len(paths)} files convict of nothing")


def read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise Failure(FAILURE, f"{path}: {error.strerror}") from None


# Known answers

# RFC 6962 test inputs of the reference implementation, with the roots of 1 to 8 leaves.
INPUTS = ["", "00", "10", "2021", "3031", "40414243"]
INPUTS += ["5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = """
6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d
fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125
aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77
d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7
4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4
76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef
ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c
5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328
""".split()
FOO = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
FOO_NOTE = (
    "This is an example message.\n\n\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfX"
    "ppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)


def fails(check, *arguments):
    try:
        check(*arguments)
    except (Failure, Refused):
        return True
    return False


def path_of(leaves, index):
    """PATH(m, D[n]) as the RFC writes it."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if index < k:
        return path_of(leaves[:k], index) + [root_of(leaves[k:])]
    return path_of(leaves[k:], index - k) + [root_of(leaves[:k])]


def subproof(leaves, old, whole):
    """SUBPROOF(m, D[n], b) as the RFC writes it."""
    if old == len(leaves):
        return [] if whole else [root_of(leaves)]
    k = split(len(leaves))
    if old <= k:
        return subproof(leaves[:k], old, whole) + [root_of(leaves[k:])]
    return subproof(leaves[k:], old - k, False) + [root_of(leaves[:k])]


def selftest():
    leaves = [leaf_hash(bytes.fromhex(text)) for text in INPUTS]
    for size, want in enumerate(ROOTS, 1):
        assert root_of(leaves[:size]).hex() == want, size
    checks = 0
    leaves = [leaf_hash(bytes([n])) for n in range(40)]
    for size in range(1, len(leaves) + 1):
        tree, root = leaves[:size], root_of(leaves[:size])
        for index in range(size):
            proof = path_of(tree, index)
            check_inclusion(size, root, index, tree[index], proof)
            assert fails(check_inclusion, size, root, index, tree[index], proof + [root])
            assert fails(check_inclusion, size, root, index, bytes(32), proof)
            check_batch(size, root, {index: tree[index]}, proof)
            checks += 4
        for old in range(1, size):
            proof = subproof(tree, old, True)
            check_consistency(old, root_of(tree[:old]), size, root, proof)
            assert fails(check_consistency, old, root, size, root, proof)
            assert fails(check_consistency, old, root_of(tree[:old]), size, root, proof[:-1])
            checks += 3
        check_batch(size, root, dict(enumerate(tree)), [])
    note = notes.Note(FOO_NOTE.encode(), 16, 4096)
    key = notes.Key(FOO, 1)
    assert note.signed_by([key]) == [key]
    assert fails(notes.Note(FOO_NOTE.replace("This", "That").encode(), 16, 4096).signed_by, [key])
    small = base64.b64encode(bytes([1, 1]) + bytes(31)).decode()
    digest = hashlib.sha256(b"a/b\n" + bytes([1, 1]) + bytes(31)).hexdigest()[:8]
    assert fails(notes.Key, f"a/b+{digest}+{small}", 1), "the neutral point signs for anyone"
    assert tile_path(3, 1234067, 8) == "tile/3/x001/x234/067.p/8"
    print(f"selftest: {checks} proofs, notes, keys and paths: ok")


COMMANDS = {
    ("receipt", 3): verify_receipt,
    ("recap", 2): verify_recap,
    ("log", 2): verify_log,
    ("replay", 3): replay,
    ("selftest", 0): selftest,
}


def main(arguments):
    command = COMMANDS.get((arguments[0], len(arguments) - 1)) if arguments else None
    if arguments[:1] == ["evidence"] and len(arguments) > 2:
        command = verify_evidence
    if command is None:
        print(__doc__, file=sys.stderr)
        return USAGE
    try:
        command(*arguments[1:])
    except Failure as failure:
        print(f"verify: {failure}", file=sys.stderr)
        return failure.exit
    except (Refused, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        print(f"verify: malformed: {error}", file=sys.stderr)
        return FAILURE
    return OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
