"""What an object store answers when it refuses, as sentences that say what to do."""

import re
import time

from intriguing.basics.folders.bucket_uri import Address, has_credentials
from intriguing.errors import StoreError

_SKEWED = re.compile(
    r"TIME_TOO_SKEWED|TimeTooSkewed|Request date header|Invalid JWT: Token must be|certificate is not yet valid",
    re.IGNORECASE,
)
"""What S3, Azure's and Google's stores, and curl say where this machine's clock is wrong."""
_LASTING = re.compile(
    r"NO_SUCH_BUCKET|NO_SUCH_KEY|ACCESS_DENIED|INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|INVALID_CLIENT_TOKEN_ID|"
    r"EXPIRED_TOKEN|INVALID_BUCKET|INVALID_SIGNATURE|MISSING_AUTHENTICATION|HTTP status (301|400|401|403|405)|"
    r"Bucket '.*' not found|PERMISSION_DENIED|UNAUTHENTICATED|AuthorizationFailure|AuthenticationFailed|"
    r"ContainerNotFound|No credentials",
    re.IGNORECASE,
)
_NO_BUCKET = re.compile(r"NO_SUCH_BUCKET|Bucket '.*' not found|ContainerNotFound", re.IGNORECASE)
_REFUSED_KEY = re.compile(
    r"INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|INVALID_CLIENT_TOKEN_ID|EXPIRED_TOKEN|INVALID_SIGNATURE|"
    r"UNAUTHENTICATED|AuthenticationFailed",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"ACCESS_DENIED|HTTP status 403|PERMISSION_DENIED|AuthorizationFailure|MISSING_AUTHENTICATION|No credentials",
    re.IGNORECASE,
)
_AWAY = re.compile(r"NETWORK_CONNECTION|curlCode|Could not resolve|couldn't connect|timed? ?out", re.IGNORECASE)
_KEYS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ~/.aws/credentials, or the machine's role",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, `gcloud auth application-default login`, or the machine's role",
    "abfs": "AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET, `az login`, or the machine's identity",
}


def is_absence(error: Exception) -> bool:
    """Whether nothing is there: Arrow says so of Google's store by its text alone."""
    return str(error).startswith(("No such file or directory", "No such directory"))


def is_passing(error: Exception) -> bool:
    """Whether a request may well succeed in a moment: the store is busy, slow, or was not reached."""
    return not (_LASTING.search(str(error)) or _SKEWED.search(str(error)))


def no_bucket(address: Address) -> StoreError:
    """The error for a folder in a bucket that does not exist."""
    bucket = address.shown.partition("://")[2].partition("/")[0]
    return StoreError(f"There is no bucket {bucket!r} for {address.shown}: make it, or give another folder.")


def explained(error: Exception, address: Address) -> StoreError:
    """An error that the store of `address` answered with, or that kept it from answering."""
    text = str(error)
    keys = _KEYS[{"gcs": "gs", "abfss": "abfs"}.get(address.scheme, address.scheme)]
    if _NO_BUCKET.search(text):
        return no_bucket(address)
    if _SKEWED.search(text):
        return StoreError(
            f"The store of {address.shown} refuses requests from this machine's clock, which says "
            f"{time.strftime('%Y-%m-%d %H:%M:%S %Z')}: set it (timedatectl set-ntp true), then run the same command to "
            "continue."
        )
    if _REFUSED_KEY.search(text):
        return StoreError(f"The store refuses the key for {address.shown}. Keys come from {keys}.")
    if _DENIED.search(text):
        none = address.scheme == "s3" and not has_credentials(address)
        where = "none are set here" if none else "these must allow to list, read, write and delete there"
        return StoreError(f"{address.shown} may not be used (access denied). Keys come from {keys}: {where}.")
    if _AWAY.search(text):
        return StoreError(
            f"The store of {address.shown} cannot be reached, or does not answer in time: look at the network"
            f"{' and at endpoint_override' if 'endpoint_override' in address.uri else ''}, then run the same command "
            "to continue."
        )
    return StoreError(f"The store of {address.shown} failed: {text.strip()} Run the same command to continue.")
