"""The words that a page uses, each explained in a sentence: on hover where they stand, and in a list at the end."""

import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """A word of the page. forms: how it is written in texts, beside its name."""

    name: str
    sentence: str
    forms: tuple[str, ...] = ()

    @property
    def slug(self) -> str:
        """Its name as a part of an anchor."""
        return "".join(c if c.isalnum() else "-" for c in self.name.lower())

    @property
    def forms_json(self) -> str:
        """Its forms as the page's script reads them."""
        return json.dumps(self.forms)


_TERMS = (
    Term("unit", "One number of a layer's output: a neuron of a dense layer, a channel of a convolution.", ("units",)),
    Term(
        "random direction",
        "A random linear combination of all units of a layer. Units are special only if they differ from these.",
        ("random directions",),
    ),
    Term(
        "rotation",
        "A random orthonormal basis of the layer's space: all units at once are replaced by random directions.",
        ("rotations", "random rotation", "random rotations"),
    ),
    Term(
        "null standard deviation",
        "How much a score's mean varies from one random rotation to the next: the measure of every effect.",
        ("null standard deviations", "standard deviations of the rotations"),
    ),
    Term(
        "far beyond every rotation",
        "More than 20 null standard deviations away; so far out the number itself means nothing more.",
    ),
    Term(
        "smallest detectable effect",
        "The smallest effect that a test finds in four of five repetitions, in standard deviations of the rotations.",
    ),
    Term("purity", "The share of the commonest class among the images that a direction answers to most."),
    Term(
        "entropy", "How mixed the classes of these images are: 0 for one class alone, 1 for all classes equally often."
    ),
    Term(
        "kurtosis",
        "How heavy the tails of a direction's values are: 3 for a bell curve, large when few images give most of it.",
    ),
    Term(
        "enrichment",
        "How unlikely so many images of one class are among the top ones by chance: -log10 of the probability, "
        "corrected for the number of classes.",
    ),
    Term(
        "auroc",
        "How well a direction's value separates one class from the rest: the largest |2 AUROC - 1| of the classes, "
        "AUROC being the area under the ROC curve. 0 is chance, 1 is perfect.",
        ("AUROC",),
    ),
    Term(
        "interpretability",
        "How often a judge (another network, or the pixels) tells which of two images has the larger value.",
    ),
    Term(
        "intruder", "How often a judge finds the one image that was put among a direction's top images from elsewhere."
    ),
    Term("raw", "All units of the layer."),
    Term(
        "live",
        "The layer without its dead and saturated units.",
    ),
    Term("dead", "A unit that gives the same value for every input."),
    Term("saturated", "A unit whose largest value is shared by so many inputs that its top images are arbitrary."),
    Term(
        "random_init",
        "The control: the same network before training. A difference that it shows as well was not learned.",
        ("untrained network",),
    ),
    Term(
        "shuffled labels",
        "The control: the same units with the labels of the images permuted at random.",
        ("shuffled_labels",),
    ),
    Term(
        "dose",
        "How far the basis is rotated, from the units (0) to a full random rotation (1), to see an effect fade.",
        ("doses",),
    ),
    Term(
        "Holm's p",
        "A p-value corrected for the number of tests: at most 0.05 is called a finding here.",
        ("p, Holm",),
    ),
    Term("95 % interval", "In 95 of 100 repetitions with other inputs such an interval holds the true value."),
    Term(
        "distortion",
        "The size of a change: the root mean square over all numbers of the image, each in [0, 1].",
        ("distortions",),
    ),
    Term("penalty", "The weight c of the paper: how much the size of a change counts against fooling the model."),
    Term("RMS", "Root mean square: the size of a change per number of the image, as distortion."),
    Term(
        "grade",
        "How a search is done: fast, best or thorough, each nearer and slower, or faithful, the paper's procedure.",
    ),
    Term("untargeted", "A search for any wrong class.", ()),
    Term(
        "amplified",
        "A found change, scaled up to one size for all images.",
        ("amplification",),
    ),
    Term(
        "robust accuracy",
        "The share of images that no change found up to a size fools: an upper bound of the true share.",
    ),
    Term(
        "bracket",
        "Two bounds of the smallest change that fools a model: a proven lower one, and the size of a found change.",
    ),
    Term("NPMI", "Normalised pointwise mutual information: how much more often words stand together than by chance."),
)


def glossary() -> list[Term]:
    """All terms, by name."""
    return sorted(_TERMS, key=lambda term: term.name.lower())
