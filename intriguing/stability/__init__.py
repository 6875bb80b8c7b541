"""How stable a network is: operator norms, Lipschitz bounds, and certified lower bounds for minimal distortions."""

from intriguing.stability.bounds import Certificates, excluded_classes, is_optimal, lower_bounds
from intriguing.stability.graph import Graph, UntracedError, trace
from intriguing.stability.norms import LayerNorm, NetworkNorms, OperatorNorm, layer_norms, operator_norm
from intriguing.stability.problem import Network

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
