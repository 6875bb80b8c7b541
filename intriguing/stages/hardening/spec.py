"""The section [hardening] of a spec."""

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from intriguing.blind_spots.grades import GRADES
from intriguing.errors import IntriguingError, unknown_name
from intriguing.hardening.options import BELOW, METHODS, HardeningOptions
from intriguing.models import TrainOptions
from intriguing.stages.common.section import Name, Section

if TYPE_CHECKING:
    GradeName = str
    MethodName = str
    BelowName = str
else:
    GradeName = Literal[tuple(GRADES)]
    MethodName = Literal[METHODS]
    BelowName = Literal[BELOW]


class HardeningVariant(Section):
    """One way to train. A key that is left out has the value of `[hardening.defaults]`, else the one that is named."""

    method: MethodName | None = None
    """plain: clean data alone (the default). pools: minimal changes of each layer's outputs, kept in a pool per layer.
    noise: the same, each replaced by Gaussian noise of its own norm. pgd: L2 adversarial training on the input."""
    layers: Literal["each", "top"] | list[str] | None = None
    """The layers with a pool: `each` (the input and the model's `layers`, the default), `top` (the upper half of these)
    or their names, the lowest first, where `input` is the network's input."""
    training: dict[str, Any] = {}
    """Arguments of this training, such as `weight_decay`, over those of `defaults` and of the model."""
    dropout: list[float] | None = None
    """Shares of values dropped in training: of the input, then of each of the model's `layers`; the last one counts for
    all that follow."""
    weight: float | None = None
    """The share of the loss that changed examples have, from 0 to 1 (0.5)."""
    new_per_epoch: int | None = None
    """Images per layer and epoch whose change is searched anew (1,000)."""
    kept_epochs: int | None = None
    """Epochs that a change stays in its pool (10)."""
    renewals: int | None = None
    """How often in an epoch a part of the new changes is searched (4)."""
    revisited: float | None = None
    """The share of these searches that are of the images of the oldest changes, from which they start (0.5)."""
    cap: float | None = None
    """The largest norm of a change, in medians of the norms found with it; left out: no limit."""
    below: BelowName | None = None
    """Whether a layer's changes train the layers below it too: fixed (no, the default) or trained."""
    radius: float | None = None
    """pgd: the L2 norm of the change of an image (1.5)."""
    steps: int | None = None
    """pgd: gradients per image (1)."""

    def over(self, base: "HardeningVariant") -> "HardeningVariant":
        """The variant, with the keys that it leaves out taken from `base`."""
        given = {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}
        return base.model_copy(update=given | {"training": {**base.training, **self.training}})

    @property
    def chosen(self) -> Literal["each", "top", "named"]:
        """How the layers are chosen."""
        return "named" if isinstance(self.layers, list) else self.layers or "each"

    def options(self, layers: tuple[str, ...] = ("input",), dropped: tuple[str, ...] = ()) -> HardeningOptions:
        """The options of the training, with these `layers`; raises as `HardeningOptions` does."""
        names = (
            "method",
            "weight",
            "new_per_epoch",
            "kept_epochs",
            "renewals",
            "revisited",
            "cap",
            "below",
            "radius",
            "steps",
        )
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        return HardeningOptions(layers=layers, dropout=tuple(self.dropout or ()), dropped=dropped, **given)


def default_variants() -> dict[str, HardeningVariant]:
    """The eight that the claims are about."""
    return {
        "none": HardeningVariant(training={"weight_decay": 0.0}),
        "weight decay": HardeningVariant(),
        "dropout": HardeningVariant(dropout=[0.1, 0.2]),
        "input only": HardeningVariant(method="pools", layers=["input"]),
        "each layer": HardeningVariant(method="pools"),
        "top layers": HardeningVariant(method="pools", layers="top"),
        "noise": HardeningVariant(method="noise"),
        "pgd": HardeningVariant(method="pgd"),
    }


class HardeningSpec(Section):
    """Hardening: does training on what the searches find make a model better, or harder to fool?"""

    models: list[Name] = Field(min_length=1)
    """The models whose architecture is trained in every variant, on each of their data sets."""
    seeds: list[int] = Field(default=[0, 1, 2, 3, 4], min_length=1)
    """Training seeds: variants are compared seed by seed."""
    variants: dict[Name, HardeningVariant] = Field(default_factory=default_variants, min_length=1)
    """The ways to train, by name; by default eight: none, weight decay, dropout, input only, each layer, top layers,
    noise, pgd. Claims are judged between variants of these names."""
    defaults: HardeningVariant = HardeningVariant()
    """What all variants have in common."""
    baseline: Name = "weight decay"
    """The variant whose adversarial images the others are fed, and whose error sets the goal."""
    split: Literal["test"] = "test"
    """The split that errors and distortions are measured on, unless `held_out` is set."""
    held_out: int = Field(default=0, ge=0)
    """So many training images are left out of the training and measured in place of the test split, to choose options
    on; such networks are fed to no other stage."""
    trials: int = Field(default=0, ge=0)
    """How many settings were tried on held-out images before those of this spec were chosen; the page tells it."""
    images: int = Field(default=500, ge=1)
    """Images whose minimal distortion is searched after the last epoch; the same for every network."""
    curve_images: int = Field(default=100, ge=0)
    """The same after every other epoch; 0: none."""
    certified: int = Field(default=100, ge=0)
    """How many of the `images` have their lower bound proven, as [stability] does; 0: none."""
    curve_certified: int = Field(default=0, ge=0)
    """The same after every other epoch, of `curve_images`."""
    grade: GradeName = "best"
    """The grade of these searches; those in training are `fast`."""
    goal: float | None = Field(default=None, gt=0, lt=1)
    """The error that counts as reached, for the claim `faster`; by default 1.1 times the baseline's mean last error."""
    joined: list[Name] | None = None
    """The variants whose networks later stages take for models like any other; by default all."""

    @model_validator(mode="after")
    def _check(self) -> "HardeningSpec":
        if self.baseline not in self.variants:
            raise ValueError(f"baseline: {unknown_name('variant', self.baseline, self.variants)}")
        for name in self.joined or ():
            if name not in self.variants:
                raise ValueError(f"joined: {unknown_name('variant', name, self.variants)}")
        if self.held_out and self.joined:
            raise ValueError("joined: with held_out the networks are trials, which no other stage takes")
        if len(set(self.seeds)) != len(self.seeds) or len(set(self.models)) != len(self.models):
            raise ValueError("seeds: a seed, or a model, is named twice")
        for name, variant in self.variants.items():
            try:
                self.training_of(variant, {})
                whole = variant.over(self.defaults)
                whole.options(tuple(whole.layers) if isinstance(whole.layers, list) else ("input",))
            except IntriguingError as error:
                raise ValueError(f"variants.{name}: {error}") from None
        return self

    def training_of(self, variant: HardeningVariant, model: dict[str, Any]) -> dict[str, Any]:
        """The arguments of a variant's training: its own, then those of `defaults`, then the `model`'s."""
        training = {**model, **variant.over(self.defaults).training}
        TrainOptions.of(training)
        return training

    @property
    def joining(self) -> list[str]:
        """The variants whose networks later stages take."""
        if self.held_out:
            return []
        return list(self.variants) if self.joined is None else list(self.joined)


def agree(section: HardeningSpec, spec: Any) -> None:
    """It names models of the spec; raises ValueError where one is not there."""
    for name in section.models:
        if name not in spec.models:
            raise ValueError(f"hardening.models: {unknown_name('model', name, spec.models)}")
