"""How perturbations carry over to other networks: images to feed, and intervals for the errors they cause."""

from intriguing.transfer.intervals import wilson
from intriguing.transfer.perturb import Perturbed, amplify, gaussian_noise

__all__ = ["Perturbed", "amplify", "gaussian_noise", "wilson"]
