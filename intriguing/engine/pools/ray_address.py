"""Where a Ray cluster is, and whether it answers, found without importing ray. Nothing here waits for long.

Ray itself takes any address for a cluster that is slow, and tries for minutes. A file that a crashed Ray left behind,
or that somebody else put there, is enough for that. So the address is asked first.
"""

import os
import re
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from intriguing.basics.folders.files import expanded
from intriguing.basics.folders.presence import is_file

PROBE_SECONDS = 3.0
"""How long an address may take to answer that was found in a file."""
NAMED_SECONDS = 15.0
"""The same of one that the user named: the head of a cluster where everything starts at once may be slow."""

_LONGEST = 1_000
_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+):(\d{1,5})")
_CHECK_ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"


@dataclass(frozen=True)
class Cluster:
    """What points to a cluster: its address ("" where nothing does) and why it cannot be used ("" where it can).

    `is_named` says that the user named it, by RAY_ADDRESS.
    """

    address: str = ""
    is_named: bool = False
    problem: str = ""

    @property
    def is_usable(self) -> bool:
        """Whether a cluster answered."""
        return bool(self.address) and not self.problem


def find_cluster() -> Cluster:
    """The cluster that RAY_ADDRESS names, else the one of Ray's own file; it was asked, and had 15 or 3 s to answer.

    RAY_ADDRESS may be host:port, ray://host:port, "auto" (the file) or "local" (no cluster, whatever the file says).
    """
    named = os.environ.get("RAY_ADDRESS", "").strip()
    if named == "local":
        return Cluster()
    if named and named != "auto":
        problem = ask(named, NAMED_SECONDS, _without_token(is_named=True))
        return Cluster(named, True, problem and f"RAY_ADDRESS is {named!r}, and {problem}")
    file = address_file()
    try:
        address = _read(file)
        problem = address and ask(address, PROBE_SECONDS, _without_token(is_named=False))
    except (OSError, ValueError) as error:
        address, problem = "?", str(error)
    said = f"{str(file)!r} names a Ray cluster" + (f" at {address!r}" if address != "?" else "")
    return Cluster(address, False, problem and f"{said}, and {problem}")


def address_file() -> Path:
    """Where `ray start` on this machine leaves the address of its cluster: the path that Ray itself looks at."""
    folder = os.environ.get("RAY_TMPDIR")
    if folder is None and sys.platform.startswith("linux"):
        folder = os.environ.get("TMPDIR")
    return Path("/tmp" if folder is None else folder, "ray", "ray_current_cluster")


def _without_token(is_named: bool) -> str:
    """What is wrong where a cluster wants a token; "" where Ray gives it one, and says what is wrong with that.

    To an address that somebody named it gives none unless RAY_AUTH_MODE says so.
    """
    mode = os.environ.get("RAY_AUTH_MODE")
    here = any(map(os.environ.get, ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))) or is_file(expanded("~/.ray/auth_token"))
    if mode not in (None, "", "disabled") or (not mode and here and not is_named):
        return ""
    first = "" if here else "copy the cluster's token to ~/.ray/auth_token, and "
    return f"it answers nobody without its token: {first}set RAY_AUTH_MODE=token"


def ask(address: str, seconds: float = PROBE_SECONDS, without_token: str = "") -> str:
    """What is wrong with the cluster at `address`; "" when one answers there within `seconds`.

    A server of another kind is no cluster: the control service of Ray must know the call. That it wants a token is an
    answer, too: `without_token` is what is wrong then.
    """
    scheme, _, rest = address.rpartition("://")
    if scheme in ("http", "https"):
        return "that is the address of Ray's dashboard, for `ray job submit`: a cluster is named by host:port"
    if scheme not in ("", "ray"):
        return ""  # a service that registered itself with Ray: only Ray can say
    place = rest.partition("/")[0].partition("?")[0]
    found = _HOST_PORT.fullmatch(place)
    if found is None or not 0 < int(found[2]) < 65_536:
        return "that is not of the form host:port"
    return _ask(place, seconds, without_token, is_client=scheme == "ray")


def _ask(place: str, seconds: float, without_token: str, is_client: bool) -> str:
    import grpc

    try:
        channel = _channel(place)
    except OSError as error:
        return f"the certificates that RAY_TLS_* name cannot be read: {error}"
    with channel:
        call = channel.unary_unary(_CHECK_ALIVE, request_serializer=bytes, response_deserializer=bytes)
        try:
            call(b"", timeout=seconds)
        except grpc.RpcError as error:
            code = error.code()  # pyright: ignore[reportAttributeAccessIssue]
            if code == grpc.StatusCode.DEADLINE_EXCEEDED:
                return f"nothing answers there within {seconds:g} s"
            if code == grpc.StatusCode.UNAUTHENTICATED:
                return without_token
            if code == grpc.StatusCode.UNAVAILABLE:
                return f"nothing answers there ({_last_words(error)})"
            # Ray's client server does not know the call, but that it says so tells that it is there.
            if code == grpc.StatusCode.UNIMPLEMENTED and not (is_client and "http" not in _last_words(error).lower()):
                return "what answers there is not Ray"
    return ""


def _channel(place: str):  # noqa: ANN202 (a grpc.Channel: grpc has no types)
    import grpc

    options = [("grpc.enable_http_proxy", 0)]
    if os.environ.get("RAY_USE_TLS", "0").lower() not in ("1", "true"):
        return grpc.insecure_channel(place, options=options)
    names = ("RAY_TLS_CA_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_SERVER_CERT")
    files = [os.environ.get(name) for name in names]
    return grpc.secure_channel(
        place, grpc.ssl_channel_credentials(*(Path(f).read_bytes() if f else None for f in files)), options=options
    )


def _last_words(error: object) -> str:
    return str(error.details() or "").rpartition(": ")[2]  # type: ignore[attr-defined]


def _read(file: Path) -> str:
    """The address in `file`; "" where there is none. Raises `ValueError` for a file that must not be trusted."""
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise ValueError("it is no regular file")
        if about.st_uid not in (0, os.geteuid()):
            raise ValueError(
                f"it belongs to another user (number {about.st_uid}): set RAY_ADDRESS to use that cluster all the same"
            )
        content = os.read(handle, _LONGEST + 1)
    finally:
        os.close(handle)
    if len(content) > _LONGEST:
        raise ValueError("it is too long for an address")
    return content.decode("utf-8", "backslashreplace").strip()
