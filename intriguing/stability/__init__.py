"""How stable a network is: operator norms, Lipschitz bounds, and certified lower bounds for minimal distortions.

`norms` and `bounds` are the entries. `problem` proves a bound for images, the dear ways by `lines`, the cheap ones by
`lipschitz` constants and `local` ones; `rounding` and `stepwise` count what float32 may add. All read a network as
`tracing` gives it.
"""

from intriguing.stability.bounds import Certificates, excluded_classes, is_optimal, lower_bounds
from intriguing.stability.norms import LayerNorm, NetworkNorms, OperatorNorm, layer_norms, operator_norm
from intriguing.stability.problem import Network
from intriguing.stability.tracing.graph import Graph, UntracedError, trace

__all__ = [
    "Certificates",
    "Graph",
    "LayerNorm",
    "Network",
    "NetworkNorms",
    "OperatorNorm",
    "UntracedError",
    "excluded_classes",
    "is_optimal",
    "layer_norms",
    "lower_bounds",
    "operator_norm",
    "trace",
]
