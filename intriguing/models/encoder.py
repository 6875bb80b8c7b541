"""The encoder of the paper's AE400-10: a sparse autoencoder of one sigmoid layer, whose decoder is not kept."""

from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from intriguing.models.fitting import Decay, Examples, Rows, descend
from intriguing.models.options import TrainOptions


def fit_encoder(encoder: nn.Module, examples: Examples, options: TrainOptions, seed: int) -> None:
    """Train `encoder` (`linear`, then a sigmoid) in place, so that its sparse code allows to reconstruct the images.

    The loss is minimised over the encoder and a linear decoder. It is the mean over images of 1/2 ||x - x'||^2, plus
    `sparsity_penalty` times the sum over units of KL(sparsity || mean activation in the batch), plus weight decay
    `encoder_decay`. The paper says only "sparse" (section 4.2); the numbers are choices of this project.

    Source: Ng 2011, "Sparse autoencoder", CS294A lecture notes, section 3.
    """
    linear = cast(nn.Linear, encoder.get_submodule("linear"))
    decoder = nn.Linear(linear.out_features, linear.in_features).to(linear.weight.device)
    nn.init.xavier_normal_(decoder.weight)
    nn.init.zeros_(decoder.bias)
    goal, weight = options.sparsity or 0.05, options.sparsity_penalty or 0.0

    def loss(rows: Rows) -> torch.Tensor:
        x = examples.inputs(rows).flatten(1)
        code = encoder(x)
        mean = code.mean(dim=0).clamp(1e-4, 1 - 1e-4)
        divergence = goal * torch.log(goal / mean) + (1 - goal) * torch.log((1 - goal) / (1 - mean))
        return 0.5 * F.mse_loss(decoder(code), x) * x.shape[1] + weight * divergence.sum()

    decay = Decay.of(
        nn.ModuleList([linear, decoder]),
        TrainOptions(weight_decay=options.encoder_decay, decay_form="half"),
    )
    encoder.requires_grad_(True)
    parameters = [*encoder.parameters(), *decoder.parameters()]
    adam = TrainOptions(optimizer="adam").over(options)
    descend(parameters, loss, len(examples), options.encoder_epochs or 0, adam, decay, seed, "order for the encoder")
    encoder.requires_grad_(False)
