"""Writing on a condition, which Arrow does not ask of S3: through boto3, where that is installed.

S3 and most stores that speak its protocol take `If-None-Match: *` (nothing may be there yet) and `If-Match: ETAG` (what
is there must be what was read) with a PUT, and answer 412 where that does not hold.
"""

import logging
from typing import Any

from intriguing.basics.folders.bucket import BucketFolder
from intriguing.basics.folders.bucket_uri import s3_key, s3_options

log = logging.getLogger(__name__)

_DOES_NOT_HOLD = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
_ABSENT = ("NoSuchKey", "404")
_CONNECT, _REQUEST = 10, 30


class UnknownConditionError(Exception):
    """The store could not be asked on a condition: without one it may well be."""


class Conditions:
    """Requests on a condition to the folder of an S3 bucket."""

    def __init__(self, client: Any, root: str) -> None:
        self._client = client
        self._bucket, _, self._folder = root.partition("/")

    @classmethod
    def of(cls, folder: object) -> "Conditions | None":
        """Those of `folder`; None where it is on another kind of store, or boto3 is not installed."""
        if not isinstance(folder, BucketFolder) or folder.address.scheme != "s3":
            return None
        try:
            import boto3
            from botocore.config import Config
        except ImportError:
            return None
        options, (key, secret) = s3_options(folder.address), s3_key(folder.address)
        endpoint = options.get("endpoint_override")
        style = {"addressing_style": "path"} if endpoint else {}  # as Arrow does
        try:
            client = boto3.client(
                "s3",
                region_name=options.get("region") or ("us-east-1" if endpoint else None),
                endpoint_url=f"{options.get('scheme', 'https')}://{endpoint}" if endpoint else None,
                aws_access_key_id=key,
                aws_secret_access_key=secret,
                config=Config(connect_timeout=_CONNECT, read_timeout=_REQUEST, s3=style),
            )
        except Exception as error:  # of an odd configuration, which Arrow may well understand
            log.debug("boto3 cannot be used for %s: %s", folder, error)
            return None
        return cls(client, folder.root)

    def read(self, name: str) -> tuple[bytes, str]:
        """The content of a file and its ETag; empty where there is no such file."""
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=f"{self._folder}/{name}")
            return answer["Body"].read(), answer["ETag"]
        except Exception as error:
            if _code(error) in _ABSENT:
                return b"", ""
            raise UnknownConditionError(str(error)) from error

    def write(self, name: str, content: bytes, over: str) -> bool:
        """Put a file in the place of the one with the ETag `over`, or where none is (""); False where another is."""
        condition = {"IfMatch": over} if over else {"IfNoneMatch": "*"}
        try:
            self._client.put_object(Bucket=self._bucket, Key=f"{self._folder}/{name}", Body=content, **condition)
        except Exception as error:
            if _code(error) in (*_DOES_NOT_HOLD, *_ABSENT):
                # It may be our own: a request whose answer was lost is sent again.
                return self.read(name)[0] == content
            raise UnknownConditionError(str(error)) from error
        return True


def _code(error: Exception) -> str:
    """The code of an answer of the store; "" for any other error."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""
