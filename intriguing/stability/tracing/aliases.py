"""What a traced graph does not show: a tensor that is changed in place is seen by all views of its memory.

The tracer follows the changed tensor alone. Where another view of the memory is read afterwards, the graph reads what
was there before the change.
"""

import operator
from typing import Any

from torch.fx import Graph, Node

_UNDECLARED = ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
"""Operations that return their input itself, in eval mode, without saying so."""


def stale_read(graph: Graph) -> str | None:
    """The name of an operation in place after which another view of the same memory is read; None without any."""
    root: dict[Node, Node] = {}
    families: dict[Node, list[Node]] = {}
    order = {node: i for i, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        source = _viewed(node)
        root[node] = node if source is None else root[source]
        families.setdefault(root[node], []).append(node)
    for node in graph.nodes:
        written = _written(node)
        if written is not None and any(
            order[user] > order[node] for view in families[root[written]] for user in view.users
        ):
            return node.name
    return None


def _viewed(node: Node) -> Node | None:
    """The node whose memory the result of `node` is a view of; what is changed in place counts as new."""
    if node.target is operator.getitem or _name(node) in _UNDECLARED:
        return _as_node(node.args[0])
    schema = getattr(node.target, "_schema", None)
    if schema is None or not any(r.alias_info is not None and not r.alias_info.is_write for r in schema.returns):
        return None
    return next((_as_node(given) for given, a in zip(node.args, schema.arguments, strict=False) if a.alias_info), None)


def _written(node: Node) -> Node | None:
    """The node whose memory `node` changes."""
    schema = getattr(node.target, "_schema", None)
    pairs = zip(node.args, schema.arguments, strict=False) if schema is not None else ()
    return next((_as_node(given) for given, a in pairs if a.alias_info is not None and a.alias_info.is_write), None)


def _name(node: Node) -> str:
    packet = getattr(node.target, "overloadpacket", None)
    return getattr(packet, "__name__", "")


def _as_node(given: Any) -> Node | None:
    return given if isinstance(given, Node) else None
