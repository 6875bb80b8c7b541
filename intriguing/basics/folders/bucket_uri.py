"""URIs of folders on object stores: which can be, what people are shown of them, and how they are opened.

    s3://bucket/folder              credentials from the environment, ~/.aws or the machine's role
    gs://bucket/folder              from GOOGLE_APPLICATION_CREDENTIALS or the machine's role
    abfs://account@container/folder from Azure's own chain

After a ``?`` S3 takes region, scheme and endpoint_override (another store that speaks S3: MinIO, Ceph, R2), which
AWS_ENDPOINT_URL_S3 and AWS_ENDPOINT_URL name, too.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

import pyarrow as pa
from pyarrow import fs

from intriguing.basics.folders.files import expanded, without_secrets
from intriguing.basics.folders.presence import is_there
from intriguing.errors import InputError

_S3, _GOOGLE, _AZURE = ("s3",), ("gs", "gcs"), ("abfs", "abfss")
SCHEMES = (*_S3, *_GOOGLE, *_AZURE)
"""What the URI of a folder on an object store begins with."""
_S3_OPTIONS = ("region", "scheme", "endpoint_override")
_CONNECT, _REQUEST = 10.0, 30.0


@dataclass(frozen=True)
class Address:
    """A URI in its parts.

    `shown` is what messages, pages and plans say: without keys and options. `again` opens it again where the
    environment has the credentials: without keys, with the options.
    """

    uri: str
    shown: str
    again: str

    @classmethod
    def of(cls, uri: str) -> "Address":
        """Raises `InputError` for a URI that no run can be written to: the message says what can."""
        parts = _split(uri)
        scheme = parts.scheme.lower()
        shown = without_secrets(uri)
        if scheme == "file":
            raise InputError(f"{shown} is a folder of this machine: give its path, {unquote(parts.path) or '/...'}.")
        if scheme not in SCHEMES:
            raise InputError(
                f"{shown} cannot hold a run: {scheme}:// is no object store that runs are written to. Give a folder, "
                "s3://bucket/folder, gs://bucket/folder or abfs://account@container/folder."
            )
        if not parts.netloc.rpartition("@")[2]:
            raise InputError(f"{shown} names no bucket: give {scheme}://bucket/folder.")
        if any(part in (".", "..") for part in unquote(parts.path).split("/")):
            raise InputError(f"{shown} has a part `.` or `..`, which an object store takes for a name: leave it out.")
        options = dict(parse_qsl(parts.query))
        if scheme in _S3 and options.keys() - set(_S3_OPTIONS):
            odd = sorted(options.keys() - set(_S3_OPTIONS))[0]
            raise InputError(f"{shown} has an option {odd!r} after the `?`: there are {', '.join(_S3_OPTIONS)}.")
        kept = {name: value for name, value in options.items() if name in _S3_OPTIONS}
        return cls(uri, shown, f"{shown}?{urlencode(kept)}" if kept else shown)

    @property
    def scheme(self) -> str:
        """The kind of store: s3, gs, gcs, abfs or abfss."""
        return self.uri.partition(":")[0].lower()

    @property
    def is_azure(self) -> bool:
        """Whether the store is one of Azure's."""
        return self.scheme in _AZURE

    @property
    def is_google(self) -> bool:
        """Whether the store is Google's."""
        return self.scheme in _GOOGLE

    def below(self, name: str) -> str:
        """The URI of the folder `name` in this one."""
        before, mark, options = self.uri.partition("?")
        return f"{before.rstrip('/')}/{quote(name)}{mark}{options}"


def file_system(address: Address) -> tuple[fs.FileSystem, str]:
    """Arrow's file system for `address`, and the folder's path in it; raises Arrow's own errors."""
    if address.scheme not in _S3:
        try:
            system, root = fs.FileSystem.from_uri(address.uri)
        except pa.ArrowInvalid as error:
            raise InputError(f"{address.shown} cannot be opened: {error}") from error
        return system, root.rstrip("/")
    key, secret, host = _key_and_bucket(address)
    options = s3_options(address)
    if "region" not in options and "endpoint_override" not in options and not _knows_region():
        with suppress(OSError):  # the first request says what is wrong
            options["region"] = fs.resolve_s3_region(host)
    system = fs.S3FileSystem(
        access_key=key,
        secret_key=secret,
        connect_timeout=_CONNECT,
        request_timeout=_REQUEST,
        allow_delayed_open=True,  # a file of some megabytes is one request
        background_writes=False,
        **options,
    )
    return system, f"{host}/{unquote(_split(address.uri).path).strip('/')}".rstrip("/")


def s3_options(address: Address) -> dict[str, str]:
    """Region, scheme and endpoint_override, as far as the URI or the environment names them."""
    return _endpoint() | dict(parse_qsl(_split(address.uri).query))


def s3_key(address: Address) -> tuple[str | None, str | None]:
    """Key and secret in the URI; None where it has none."""
    return _key_and_bucket(address)[:2]


def has_credentials(address: Address) -> bool:
    """Whether keys for S3 are in the URI, the environment or ~/.aws; a machine's role is not seen here."""
    named = _split(address.uri).netloc.rpartition("@")[0] != ""
    kept = ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"), ("AWS_CONFIG_FILE", "~/.aws/config")
    files = [expanded(os.environ.get(variable, default)) for variable, default in kept]
    return named or "AWS_ACCESS_KEY_ID" in os.environ or any(is_there(file) for file in files)


def _key_and_bucket(address: Address) -> tuple[str | None, str | None, str]:
    user, _, bucket = _split(address.uri).netloc.rpartition("@")
    key, _, secret = user.partition(":")
    return unquote(key) or None, unquote(secret) or None, bucket


def _endpoint() -> dict[str, str]:
    """The store that the environment names in place of AWS's own, as options; Arrow does not look there."""
    url = urlsplit(os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "")
    return {"endpoint_override": url.netloc, "scheme": url.scheme} if url.netloc else {}


def _knows_region() -> bool:
    return bool({"AWS_REGION", "AWS_DEFAULT_REGION"} & os.environ.keys())


def _split(uri: str) -> SplitResult:
    try:
        return urlsplit(uri)
    except ValueError as error:
        raise InputError(f"{without_secrets(uri)} is no URI: {error}.") from None
