"""Signs of life: work that takes long says now and then that it goes on, to whoever listens in this process.

    for epoch in range(epochs):
        ...
        beat()

It costs a call of an empty function where nobody listens, and nothing is written more often than the listener wants.
"""

from collections.abc import Callable


def _nobody() -> None:
    """Hear nothing."""


_listener: Callable[[], None] = _nobody


def beat() -> None:
    """Say that the work in this process goes on."""
    _listener()


def listen(listener: Callable[[], None]) -> None:
    """Have `listener` called at every `beat` of this process from now on."""
    global _listener
    _listener = listener
