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
        "A fixed mixture of all units of a layer, drawn at random. Units are special only if they differ from these.",
        ("random directions",),
    ),
    Term(
        "rotation",
        "A whole basis of directions at right angles, drawn at random: the layer's space seen from another side.",
        ("rotations", "random rotation", "random rotations"),
    ),
    Term(
        "null standard deviation",
        "How much a score's mean varies from one random rotation to the next: the measure of every effect.",
        ("null standard deviations", "standard deviations of the rotations"),
    ),
    Term(
        "far beyond every rotation",
        "More than 20 null standard deviations away, where the number itself says nothing more.",
    ),
    Term(
        "smallest detectable effect",
        "The smallest effect that a test finds in four of five repetitions, in standard deviations of the rotations.",
    ),
    Term("purity", "The share of the commonest class among the images that a direction answers to most."),
    Term("entropy", "How mixed the classes of these images are, in bits: 0 for one class alone."),
    Term(
        "kurtosis",
        "How heavy the tails of a direction's values are: 3 for a bell curve, large when few images give most of it.",
    ),
    Term(
        "enrichment",
        "How unlikely so many images of one class are among the top ones by chance: minus the logarithm of the chance.",
    ),
    Term(
        "auroc",
        "How well a direction's value tells one class from the rest: twice how far the area under the ROC curve lies "
        "from that of chance (0.5). So 0 is chance, 1 is perfect.",
        ("AUROC",),
    ),
    Term(
        "interpretability",
        "How often a judge, another network or the pixels, tells which of two images a direction answers to more.",
    ),
    Term("intruder", "How often a judge finds the one image among a direction's top images that is not of them."),
    Term("raw", "All units of the layer."),
    Term(
        "live",
        "The layer without its dead and saturated units.",
    ),
    Term("dead", "A unit that gives the same value for every input."),
    Term("saturated", "A unit whose largest value is shared by so many inputs that its top images are arbitrary."),
    Term(
        "random_init",
        "The control: the same network before any training. What it shows as well was not learned.",
        ("untrained network",),
    ),
    Term(
        "shuffled labels",
        "The control: the same units with the classes of the images dealt out at random.",
        ("shuffled_labels",),
    ),
    Term(
        "dose",
        "How far a basis is turned from the units (0) to a whole random rotation (1), to see an effect fade.",
        ("doses",),
    ),
    Term(
        "Holm's p",
        "A p-value corrected for how many tests were made: below 0.05 is called a finding here.",
        ("p, Holm",),
    ),
    Term("95 % interval", "In 95 of 100 repetitions with other inputs such an interval holds the true value."),
    Term(
        "distortion",
        "The size of a change: the root mean square over all numbers of the image, each in [0, 1].",
        ("distortions",),
    ),
    Term("penalty", "The weight c by which the search trades the size of a change against fooling the model."),
    Term("RMS", "Root mean square: the size of a change per number of the image, as distortion."),
    Term(
        "grade",
        "How a search is done: fast, best or thorough, each nearer and slower, or faithful to the paper's procedure.",
    ),
    Term("untargeted", "A search for any wrong class.", ()),
    Term(
        "amplified",
        "A found change made larger along its own direction, to one size for all.",
        ("amplification",),
    ),
    Term(
        "robust accuracy",
        "The share of images that stay right under every change found up to a size; the truth is no higher.",
    ),
    Term(
        "bracket",
        "Two ends around the smallest change that fools a model: a proof from below, a found change from above.",
    ),
    Term("NPMI", "Normalised pointwise mutual information: how much more often words stand together than by chance."),
)


def glossary() -> list[Term]:
    """All terms, by name."""
    return sorted(_TERMS, key=lambda term: term.name.lower())
