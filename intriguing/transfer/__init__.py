"""How perturbations carry over to other networks: the images to feed them."""

from intriguing.transfer.perturb import Perturbed, amplify, gaussian_noise

__all__ = ["Perturbed", "amplify", "gaussian_noise"]
