"""Finding a model's state dict in what a training script saved: wrappers around it, prefixes before its names."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch

from intriguing.errors import WeightsError

_LOG = logging.getLogger(__name__)

State = dict[str, torch.Tensor]

_USUAL = ("", "state_dict", "model_state_dict", "model", "net", "network", "module", "weights", "params")
"""Where a state dict lies, the likeliest first."""
_PREFIXES = ("", "module.", "model.", "model.module.", "module.model.", "net.", "network.")
"""What stands before its names, the likeliest first."""
_COMPILED = "_orig_mod."
_LISTED = 5


@dataclass(frozen=True)
class _Fit:
    """A way in which what was saved fits the model."""

    place: str
    """The keys that lead to the state dict."""
    prefix: str
    """What its names begin with and the model's do not."""
    how: str
    """What was done to the names, in words."""
    state: State

    @property
    def rank(self) -> tuple[int, int]:
        """Smaller is likelier."""
        return _rank(self.place, _USUAL), _rank(self.prefix, _PREFIXES)

    @property
    def is_usual(self) -> bool:
        """Whether training scripts leave it like this."""
        return self.place in _USUAL and self.prefix in _PREFIXES

    @property
    def name(self) -> str:
        """What it is called in a message."""
        return f"{self.place}: {self.prefix}*" if self.place and self.prefix else self.place or f"{self.prefix}*"


def _rank(name: str, usual: tuple[str, ...]) -> int:
    return usual.index(name) if name in usual else len(usual)


def fitting(saved: Mapping[Any, Any], own: Mapping[str, torch.Tensor], where: str, model: str) -> State:
    """The tensors of `saved` under the names of `own`: from whatever wrapper and prefix makes the names fit exactly.

    Says in a log line what was unwrapped. Raises `WeightsError` naming what is missing, unexpected (the nearest names
    beside them) or of another shape where nothing fits, and where several different state dicts do.
    """
    if not saved and not own:
        return {}
    found = list(_state_dicts(saved))
    if not found:
        held = ", ".join(f"{name} ({type(value).__name__})" for name, value in list(saved.items())[:_LISTED])
        raise WeightsError(
            f"{where} hold no state dict (names and tensors) but {held or 'nothing'}. Save model.state_dict()."
        )
    fits = [_Fit(place, *view) for place, given in found for view in _views(given, own)]
    fits = [fit for fit in fits if not _misshaped(fit.state, own)] or fits
    if not fits:
        nearest = min(found, key=lambda one: len(set(one[1]) ^ set(own)))
        raise WeightsError(_misfit(*nearest, own, where, model))
    best, *others = sorted(fits, key=lambda fit: (fit.rank, fit.name))
    if others and not best.is_usual:
        names = ", ".join(fit.name for fit in (best, *others)[:_LISTED])
        raise WeightsError(f"{where} hold several state dicts that fit: {names}. Save the one that you mean, alone.")
    if wrong := _misshaped(best.state, own):
        raise WeightsError(f"{where} do not fit {model}. Of another shape: {_some(wrong)}. Check the model's options.")
    if best.place or best.how:
        told = [f"the state dict inside {best.place!r}"] if best.place else ["the state dict"]
        told += [best.how] if best.how else []
        told += [f"left aside: {', '.join(fit.name for fit in others[:_LISTED])}"] if others else []
        _LOG.info("%s: taken is %s", where, "; ".join(told))
    return best.state


def _state_dicts(saved: Mapping[Any, Any], place: str = "", depth: int = 0) -> Iterator[tuple[str, State]]:
    """Every mapping of names to tensors in `saved`, with the keys that lead to it."""
    if saved and all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in saved.items()):
        yield place, dict(saved)
        return
    if depth < 3:
        for name, value in saved.items():
            if isinstance(value, Mapping):
                yield from _state_dicts(value, f"{place}.{name}" if place else str(name), depth + 1)


def _views(given: State, own: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, str, State]]:
    """The ways in which `given` has exactly the names of `own`: (prefix, what was done, tensors by the names of `own`).

    Either as it is, or without a prefix (what does not have it belongs to something else), or with one that the model
    has; what torch.compile puts into names plays no part.
    """
    if set(given) == set(own):
        yield "", "", {name: given[name] for name in own}
        return
    plain = {name.replace(_COMPILED, ""): name for name in own}
    renamed = {name.replace(_COMPILED, ""): tensor for name, tensor in given.items()}
    if len(renamed) < len(given) or len(plain) < len(own) or not own:
        return
    compiled = [f"names without {_COMPILED!r}"] if set(given) - set(renamed) else []
    first = next(iter(plain))
    for name in renamed:
        if name == first or name.endswith(f".{first}"):
            prefix = name[: len(name) - len(first)]
            under = {n.removeprefix(prefix): t for n, t in renamed.items() if n.startswith(prefix)}
            if set(under) == set(plain):
                how = compiled + ([f"names without {prefix!r}"] if prefix else [])
                if len(under) < len(renamed):
                    rest = [n for n in renamed if not n.startswith(prefix)]
                    how.append(f"{len(rest)} tensors of other names left aside ({_some(rest)})")
                yield prefix, "; ".join(how), {plain[n]: t for n, t in under.items()}
        elif first.endswith(f".{name}"):
            prefix = first[: len(first) - len(name)]
            if {prefix + n for n in renamed} == set(plain):
                how = "; ".join([*compiled, f"names after {prefix!r}"])
                yield "", how, {plain[prefix + n]: t for n, t in renamed.items()}


def _misfit(place: str, given: State, own: Mapping[str, torch.Tensor], where: str, model: str) -> str:
    """Why the state dict that comes nearest does not fit."""
    missing, unexpected = sorted(set(own) - set(given)), sorted(set(given) - set(own))
    faults = [("missing", missing, unexpected), ("unexpected", unexpected, missing)]
    told = [f"{kind}: {_some(names, others)}" for kind, names, others in faults if names]
    if wrong := _misshaped(given, own):
        told.append(f"of another shape: {_some(wrong)}")
    inside = f" (the state dict inside {place!r})" if place else ""
    return f"{where}{inside} do not fit {model}. {'; '.join(told)}. Check the model's options."


def _misshaped(given: State, own: Mapping[str, torch.Tensor]) -> list[str]:
    return [
        f"{name} is {tuple(given[name].shape)}, the model's is {tuple(own[name].shape)}"
        for name in sorted(set(own) & set(given))
        if given[name].shape != own[name].shape
    ]


def _some(names: list[str], others: list[str] | None = None) -> str:
    """The first of `names`, each with the nearest of `others` beside it."""
    shown = []
    for name in names[:_LISTED]:
        near = get_close_matches(name, (others or [])[:500], n=1, cutoff=0.75)
        shown.append(f"{name} (nearest: {near[0]})" if near else name)
    return ", ".join(shown) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
