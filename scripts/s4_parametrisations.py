"""What S4's two parametrisations of C do to training under Adam: the numbers of docs/models.md.

python scripts/s4_parametrisations.py
"""

import torch
from torch import Tensor, nn

from baselines import build
from baselines.layers import S4Config
from baselines.layers.s4 import S4Layer
from baselines.layers.s4_kernel import untruncate

DIM, STATE, LR = 32, 64, 1e-3
LENGTHS = (10, 150, 1500)


def make(length: int | None, seed: int = 0) -> S4Layer:
    """Return the same layer, as a function, whatever its parametrisation."""
    torch.manual_seed(seed)
    options = {} if length is None else {"kernel": "truncated", "kernel_length": length}
    return S4Layer(S4Config(dim=DIM, layers=1, state=STATE, **options)).double()


def amplification(length: int) -> Tensor:
    """Return 1 / |1 - mu^length| for the eigenvalues mu of Abar, (DIM, STATE).

    Those of the HiPPO matrix are -1, ..., -STATE, as it is triangular. A solver finds only the slow ones: the
    matrix of the eigenvectors has entries up to 2^(4 STATE / 3) (S4 paper, lemma 3.2).
    """
    half = 0.5 * torch.exp(make(None).log_dt.detach()) * -torch.arange(1, STATE + 1)
    mu = (1 + half) / (1 - half)
    return 1 / (1 - mu**length).abs()


def proper_c(layer: S4Layer) -> Tensor:
    """Return C, whichever parameter the layer holds."""
    ssm = layer.state_space()
    return ssm.c if layer.truncated_length is None else untruncate(ssm, layer.truncated_length)


def fit_of_c(length: int | None, steps: int = 100) -> tuple[float, list[float]]:
    """Train C's parameter alone, by Adam, to make the kernel's first 10 taps a running mean.

    Returns
    -------
    tuple
        The relative change of C by the first step, and the relative squared error of the taps before the first
        step and after 10, 30 and 100.
    """
    layer = make(length)
    with torch.no_grad():
        c = proper_c(layer).clone()
    optimiser = torch.optim.Adam([layer.c], lr=LR)
    errors = []
    for step in range(steps + 1):
        optimiser.zero_grad()
        loss = (10 * layer.kernel(10) - 1).square().mean()
        errors.append(float(loss.detach()))
        loss.backward()
        optimiser.step()
        if step == 0:
            with torch.no_grad():
                change = float((proper_c(layer) - c).abs().norm() / c.abs().norm())
    return change, [errors[k] / errors[0] for k in (0, 10, 30, 100)]


def chunk_sums(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return white noise (16, 100, 4) and, once a chunk of 10, the sum of the chunk's samples (16, 10, 4)."""
    x = torch.randn(16, 100, 4, generator=generator)
    return x, x.unflatten(1, (10, 10)).sum(2) / 10**0.5


def curve(length: int | None, seed: int, steps: int = 150) -> list[float]:
    """Return the loss at each step of training the low level of a HiSS model to add up its chunk."""
    torch.manual_seed(seed)
    options = {} if length is None else {"low_kernel": "truncated", "low_kernel_length": length}
    model = build(
        "hiss-s4-lstm", 4, 4, low_dim=DIM, low_layers=2, low_state=STATE, low_dropout=0.0, high_dim=16,
        hidden=16, high_layers=1, **options,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=LR)
    losses = []
    for _ in range(steps):
        x, target = chunk_sums(generator)
        loss = nn.functional.mse_loss(model(x), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses


def main() -> None:
    """Print the two tables."""
    torch.set_num_threads(1)
    print("1 / |1 - mu^l| over the modes of all channels: median, 90 %, largest")
    for length in LENGTHS:
        values = amplification(length).flatten()
        print(f"  l = {length:5d}: " + "  ".join(f"{float(values.quantile(q)):8.3g}" for q in (0.5, 0.9, 1.0)))
    print(
        f"Adam, lr {LR}, on C alone: relative change of C by step 1; relative error of 10 taps, steps 0 10 30 100"
    )
    for length in (None, *LENGTHS):
        change, errors = fit_of_c(length)
        print(f"  {name(length):>16}: {change:8.3g}   " + "  ".join(f"{e:.3f}" for e in errors))
    print("loss of hiss-s4-lstm on the sum of each chunk, means of steps 41-50 and 141-150, seeds 0 to 2")
    for length in (None, *LENGTHS):
        curves = torch.tensor([curve(length, seed) for seed in range(3)])
        rows = [" ".join(f"{v:.3f}" for v in curves[:, end - 10 : end].mean(1)) for end in (50, 150)]
        print(f"  {name(length):>16}: {rows[0]}   {rows[1]}")


def name(length: int | None) -> str:
    """Return the parametrisation in words."""
    return "full" if length is None else f"truncated {length}"


if __name__ == "__main__":
    main()
