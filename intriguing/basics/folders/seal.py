"""A seal: a file's last line holds the SHA-256 of all before it, so the file alone tells whether it was changed."""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Seal:
    """The form of a seal: what stands before the hash and what after it, which ends the file."""

    before: bytes
    after: bytes

    def close(self, body: bytes) -> bytes:
        """`body` with its seal."""
        return body + self.before + self._hash(body) + self.after

    def is_broken(self, content: bytes) -> bool:
        """Whether `content` has a seal and was changed since. A file that was written anew has none."""
        body, found, rest = content.rpartition(self.before)
        return bool(found) and rest != self._hash(body) + self.after

    def holds(self, content: bytes) -> bool:
        """Whether `content` has a seal and is what was written."""
        return content.rpartition(self.before)[1] != b"" and not self.is_broken(content)

    def _hash(self, body: bytes) -> bytes:
        return hashlib.sha256(body).hexdigest().encode()


PLAN = Seal(b',\n"seal": "', b'"\n}\n')
"""Of plan.json."""
PAGE = Seal(b"<!-- SHA-256 of all above: ", b" -->\n")
"""Of report.html."""
RECORD = Seal(b',\n "seal": "', b'"\n}')
"""Of a record.json in the store."""
