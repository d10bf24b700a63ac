"""Keys and signed notes of a Jejak log (SPEC.md, "Keys and notes"), for `verify.py`."""

import base64
import binascii
import hashlib
import re
import unicodedata


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


SIZE_MAX = TIME_MAX = 2**63 - 1

# Signature types, and the bytes of a public key and of a signature without its time.
ED25519, COSIGNATURE, ML_DSA_44 = 1, 4, 6
LENGTHS = {ED25519: (32, 64), COSIGNATURE: (32, 64), ML_DSA_44: (1312, 2420)}


def short(text):
    """A text after its length in one byte."""
    data = text.encode()
    refuse_unless(len(data) <= 255, "too long")
    return bytes([len(data)]) + data


def subtree_message(name, time, text):
    """What an ML-DSA-44 key signs of a checkpoint: its first three lines."""
    lines = text[:-1].split("\n")
    refuse_unless(len(lines) >= 3 and all(lines), "not a checkpoint")
    root = base64_once(lines[2])
    refuse_unless(len(root) == 32, "not a checkpoint")
    u64 = lambda number: number.to_bytes(8, "big")
    size = u64(decimal(lines[1], SIZE_MAX))
    return b"subtree/v1\n\0" + short(name) + u64(time) + short(lines[0]) + u64(0) + size + root


class Key:
    """A vkey of one of the given signature types."""

    strong = {}

    def __init__(self, vkey, *kinds):
        parts = vkey.split("+", 2)
        refuse_unless(len(parts) == 3 and valid_name(parts[0]), "key")
        self.vkey, self.name = vkey, parts[0]
        material = base64_once(parts[2])
        refuse_unless(material and material[0] in kinds, "key")
        self.kind, self.public = material[0], material[1:]
        refuse_unless(len(self.public) == LENGTHS[self.kind][0], "key")
        digest = hashlib.sha256(self.name.encode() + b"\n" + material).digest()
        self.id = digest[:4]
        refuse_unless(parts[1] == self.id.hex(), "key id")
        if self.kind == ML_DSA_44:
            short(self.name)
            return
        if self.public not in Key.strong:
            Key.strong[self.public] = is_strong(self.public)
        refuse_unless(Key.strong[self.public], "weak key")

    def signed(self, text, signature):
        """Whether this is a signature of a text in the way of the key."""
        if self.kind == ED25519:
            return self.verifies(text.encode(), signature)
        time = int.from_bytes(signature[:8], "big")
        if len(signature) != 8 + LENGTHS[self.kind][1] or time > TIME_MAX:
            return False
        if self.kind == COSIGNATURE:
            message = f"cosignature/v1\ntime {time}\n{text}".encode()
        else:
            message = subtree_message(self.name, time, text)
        return self.verifies(message, signature[8:])

    def verifies(self, message, signature):
        from cryptography.exceptions import InvalidSignature

        if self.kind == ML_DSA_44:
            # Not in every build of the package; an Ed25519 key never asks for it.
            from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

            try:
                MLDSA44PublicKey.from_public_bytes(self.public).verify(signature, message)
            except InvalidSignature:
                return False
            return True

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
                    refuse_unless(key.signed(self.text, line.signature), "signature")
                    signers.append(key)
        return signers
