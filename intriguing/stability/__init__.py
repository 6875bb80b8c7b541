"""How stable a network is: operator norms, Lipschitz bounds, and certified lower bounds for minimal distortions."""

from intriguing.stability.graph import Graph, trace
from intriguing.stability.norms import LayerNorm, NetworkNorms, OperatorNorm, layer_norms, operator_norm

__all__ = ["Graph", "LayerNorm", "NetworkNorms", "OperatorNorm", "layer_norms", "operator_norm", "trace"]
