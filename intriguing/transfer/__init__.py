"""How perturbations carry over to other networks: the images to feed them."""

from intriguing.transfer.perturb import Perturbed, amplify, directions, gaussian_noise
from intriguing.transfer.rays import Followed, Rays, follow

__all__ = ["Followed", "Perturbed", "Rays", "amplify", "directions", "follow", "gaussian_noise"]
