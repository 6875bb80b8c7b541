"""How perturbations carry over to other networks.

`perturb` makes the images to feed, `rays` follows a change until a network is fooled, `answers` counts who is fooled by
images made for whom, and `relations` asks what that depends on.
"""

from intriguing.transfer.perturb import Perturbed, amplify, directions, gaussian_noise
from intriguing.transfer.rays import Followed, Rays, follow

__all__ = ["Followed", "Perturbed", "Rays", "amplify", "directions", "follow", "gaussian_noise"]
