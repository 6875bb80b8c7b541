"""Find a model's state dict in a file of a training script, inside wrappers and with prefixes before its names."""

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
"""Usual keys of a state dict, the most frequent first."""
_PREFIXES = ("", "module.", "model.", "model.module.", "module.model.", "net.", "network.")
"""Usual prefixes of its names, the most frequent first."""
_COUNT = "num_batches_tracked"
_COMPILED = "_orig_mod."
_LISTED = 5


@dataclass(frozen=True)
class _Fit:
    """One way in which the saved tensors fit the model."""

    place: str
    """The keys that lead to the state dict."""
    prefix: str
    """The prefix of the saved names that the model's names lack."""
    how: str
    """The change of the names, in words."""
    state: State

    @property
    def rank(self) -> tuple[int, int]:
        """Order of preference; smaller is better."""
        return _rank(self.place, _USUAL), _rank(self.prefix, _PREFIXES)

    @property
    def is_usual(self) -> bool:
        """Whether training scripts usually save it in this form."""
        return self.place in _USUAL and self.prefix in _PREFIXES

    @property
    def name(self) -> str:
        """The name in messages."""
        return f"{self.place}: {self.prefix}*" if self.place and self.prefix else self.place or f"{self.prefix}*"


def _rank(name: str, usual: tuple[str, ...]) -> int:
    return usual.index(name) if name in usual else len(usual)


def fitting(saved: Mapping[Any, Any], own: Mapping[str, torch.Tensor], where: str, model: str) -> State:
    """The tensors of `saved` under the names of `own`, taken out of wrappers and freed of a prefix.

    A log line names what was removed. What batch norms count (`num_batches_tracked`) may be missing: no output depends
    on it, and it was not saved before torch 0.4.1.

    Raises: `WeightsError` if nothing fits (it lists missing and unexpected names, with the nearest names, and wrong
    shapes), or if several different state dicts fit.
    """
    if not saved and not own:
        return {}
    candidates = list(_state_dicts(saved))
    if not candidates:
        others = [n for n, value in saved.items() if not (isinstance(n, str) and isinstance(value, torch.Tensor))]
        held = ", ".join(f"{name} ({type(saved[name]).__name__})" for name in others[:_LISTED])
        if len(others) < len(saved):
            raise WeightsError(f"{where} hold {held} beside their tensors. Save the tensors alone, by their names.")
        raise WeightsError(
            f"{where} hold no state dict (names and tensors) but {held or 'nothing'}. Save model.state_dict()."
        )
    fits = [_Fit(place, *view) for place, tensors in candidates for view in _views(tensors, _needed(own, tensors))]
    fits = [fit for fit in fits if not _misshaped(fit.state, own)] or fits
    if not fits:
        nearest = min(candidates, key=lambda one: len(set(one[1]) ^ set(own)))
        raise WeightsError(_misfit(*nearest, _needed(own, nearest[1]), where, model))
    best, *others = sorted(fits, key=lambda fit: (fit.rank, fit.name))
    if others and not best.is_usual:
        names = ", ".join(fit.name for fit in (best, *others)[:_LISTED])
        raise WeightsError(f"{where} hold several state dicts that fit: {names}. Save the one that you mean, alone.")
    if wrong := _misshaped(best.state, own):
        raise WeightsError(f"{where} do not fit {model}. Of another shape: {_some(wrong)}. Check the model's options.")
    if best.place or best.how:
        remarks = [f"the state dict inside {best.place!r}"] if best.place else ["the state dict"]
        remarks += [best.how] if best.how else []
        remarks += [f"left aside: {', '.join(fit.name for fit in others[:_LISTED])}"] if others else []
        _LOG.info("%s: taken is %s", where, "; ".join(remarks))
    return best.state


def _state_dicts(saved: Mapping[Any, Any], place: str = "", depth: int = 0) -> Iterator[tuple[str, State]]:
    """All mappings from names to tensors inside `saved`, each with the keys that lead to it."""
    if saved and all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in saved.items()):
        yield place, dict(saved)
        return
    if depth < 3:
        for name, value in saved.items():
            if isinstance(value, Mapping):
                yield from _state_dicts(value, f"{place}.{name}" if place else str(name), depth + 1)


def _needed(own: Mapping[str, torch.Tensor], tensors: State) -> Mapping[str, torch.Tensor]:
    """Those of `own` that `tensors` must have: all, but the counts of batch norms where it has none at all."""
    if any(name.endswith(_COUNT) for name in tensors):
        return own
    return {name: tensor for name, tensor in own.items() if not name.endswith(_COUNT)}


def _views(tensors: State, own: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, str, State]]:
    """All ways to give `tensors` exactly the names of `own`: (prefix, change in words, tensors by these names).

    The names fit unchanged, or after a prefix is removed (tensors without it are ignored), or after a prefix is added.
    The part that torch.compile inserts into names is ignored.
    """
    if set(tensors) == set(own):
        yield "", "", {name: tensors[name] for name in own}
        return
    plain = {name.replace(_COMPILED, ""): name for name in own}
    renamed = {name.replace(_COMPILED, ""): tensor for name, tensor in tensors.items()}
    if len(renamed) < len(tensors) or len(plain) < len(own) or not own:
        return
    compiled = [f"names without {_COMPILED!r}"] if set(tensors) - set(renamed) else []
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


def _misfit(place: str, tensors: State, own: Mapping[str, torch.Tensor], where: str, model: str) -> str:
    """A sentence: why the state dict with the most similar names does not fit."""
    missing, unexpected = sorted(set(own) - set(tensors)), sorted(set(tensors) - set(own))
    faults = [("missing", missing, unexpected), ("unexpected", unexpected, missing)]
    reasons = [f"{kind}: {_some(names, others)}" for kind, names, others in faults if names]
    if wrong := _misshaped(tensors, own):
        reasons.append(f"of another shape: {_some(wrong)}")
    inside = f" (the state dict inside {place!r})" if place else ""
    return f"{where}{inside} do not fit {model}. {'; '.join(reasons)}. Check the model's options."


def _misshaped(tensors: State, own: Mapping[str, torch.Tensor]) -> list[str]:
    return [
        f"{name} is {tuple(tensors[name].shape)}, the model's is {tuple(own[name].shape)}"
        for name in sorted(set(own) & set(tensors))
        if tensors[name].shape != own[name].shape
    ]


def _some(names: list[str], others: list[str] | None = None) -> str:
    """The first few of `names` as text, each with the most similar of `others`."""
    names_shown = []
    for name in names[:_LISTED]:
        near = get_close_matches(name, (others or [])[:500], n=1, cutoff=0.75)
        names_shown.append(f"{name} (nearest: {near[0]})" if near else name)
    return ", ".join(names_shown) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
