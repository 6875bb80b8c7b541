"""The paper's AE400-10: a sparse autoencoder of one sigmoid layer, whose decoder is not kept, and a softmax on it."""

from dataclasses import replace
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from intriguing.models.fitting import Decay, Examples, Rows, descend, fit
from intriguing.models.options import TrainOptions


def fit_encoder(encoder: nn.Module, examples: Examples, options: TrainOptions, seed: int) -> None:
    """Train `encoder` (`linear`, then a sigmoid) in place, so that its sparse code allows to reconstruct the images.

    The loss is minimised over the encoder and a linear decoder. It is the mean over images of 1/2 ||x - x'||^2, or of
    the cross-entropy of x under sigmoid(x'), plus `sparsity_penalty` times the sum over units of
    KL(sparsity || mean activation in the batch), plus weight decay `encoder_decay`. The encoder sees the images with
    Gaussian noise of the standard deviation `corruption`, the decoder's goal are the images themselves. The paper says
    only "sparse" (section 4.2); all of this is a choice of this project, made on 10,000 held-out training images
    (docs/results/paper.md). Without decay or noise, pixels that are always 0 keep their first weights, and noise on
    them alone makes the model err.

    Sources: Ng 2011, "Sparse autoencoder", CS294A lecture notes, section 3; Vincent et al. 2010, Journal of Machine
    Learning Research 11, 3371-3408 (corruption, cross-entropy).
    """
    linear = cast(nn.Linear, encoder.get_submodule("linear"))
    decoder = nn.Linear(linear.out_features, linear.in_features).to(linear.weight.device)
    nn.init.xavier_normal_(decoder.weight)
    nn.init.zeros_(decoder.bias)
    loss = partial(reconstruction_loss, encoder, decoder, examples, options)
    decay = Decay.of(
        nn.ModuleList([linear, decoder]),
        TrainOptions(weight_decay=options.encoder_decay, decay_form="half"),
    )
    encoder.requires_grad_(True)
    parameters = [*encoder.parameters(), *decoder.parameters()]
    adam = TrainOptions(optimizer="adam").over(options)
    descend(parameters, loss, len(examples), options.encoder_epochs or 0, adam, decay, seed, "order for the encoder")
    encoder.requires_grad_(False)


def reconstruction_loss(
    encoder: nn.Module, decoder: nn.Module, examples: Examples, options: TrainOptions, rows: Rows
) -> Tensor:
    """Reconstruction and sparsity of a batch; weight decay is added elsewhere."""
    x = examples.inputs(rows).flatten(1)
    code = encoder(x + options.corruption * torch.randn_like(x) if options.corruption else x)
    goal, weight = options.sparsity or 0.05, options.sparsity_penalty or 0.0
    mean = code.mean(dim=0).clamp(1e-4, 1 - 1e-4)
    divergence = goal * torch.log(goal / mean) + (1 - goal) * torch.log((1 - goal) / (1 - mean))
    if options.encoder_loss == "cross_entropy":
        error = F.binary_cross_entropy_with_logits(decoder(code), x) * x.shape[1]
    else:
        error = 0.5 * F.mse_loss(decoder(code), x) * x.shape[1]
    return error + weight * divergence.sum()


def fit_head(head: nn.Linear, codes: Examples, options: TrainOptions, seed: int) -> float:
    """Fit the softmax `head` on fixed `codes` in place; returns the last loss.

    L-BFGS works on whitened codes, where the same minimum, with the same penalty on the head's own weights, is reached
    in some 100 iterations: units of a sparse code are so correlated that 300 on the codes themselves do not suffice.
    """
    if options.optimizer != "lbfgs":
        return fit(head, codes, options, Decay.of(head, options), seed)
    mean, basis = _whitening(codes)
    whitened = nn.Linear(head.in_features, head.out_features, device=head.weight.device)
    nn.init.zeros_(whitened.weight)
    nn.init.zeros_(whitened.bias)
    # The head's own weights are those of `whitened` times the basis: the penalty is of these.
    decay = replace(Decay.of(whitened, options), metric=basis.T @ basis)
    examples = replace(
        codes, inputs=torch.cat([(codes.inputs(rows) - mean) @ basis for rows in codes.chunks()]).__getitem__
    )
    loss = fit(whitened, examples, options, decay, seed)
    with torch.no_grad():
        head.weight.copy_(whitened.weight @ basis.T)
        head.bias.copy_(whitened.bias - head.weight @ mean)
    return loss


def _whitening(codes: Examples) -> tuple[Tensor, Tensor]:
    """Mean (k,) and basis (k, k) of codes: those minus the mean, times the basis, have about unit covariance."""
    moments = [(block.sum(0), block.T @ block) for block in (codes.inputs(rows).double() for rows in codes.chunks())]
    total, squares = (torch.stack(each).sum(0) for each in zip(*moments, strict=True))
    mean = total / len(codes)
    values, vectors = torch.linalg.eigh(squares / len(codes) - mean.outer(mean))
    # Directions in which codes hardly differ are stretched no further than this: a unit may be dead.
    basis = vectors / (values.clamp(min=0) + 1e-6).sqrt()
    return mean.float(), basis.float()
