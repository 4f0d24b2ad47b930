"""Causal Transformer encoder.

Vaswani et al. 2017, arXiv 1706.03762; pre-norm: Xiong et al. 2020, arXiv 2002.04745.

Glossary, code to the paper's symbols
-------------------------------------
=============== ==========================================================================
``dim``          d_model
``feedforward``  d_ff
``heads``        h, of width d_k = d_model / h each
``q k v``        Q, K, V
``pe``           PE(pos, 2i) = sin(pos / 10000^(2i/d_model)), PE(pos, 2i+1) = cos(...), section 3.5
=============== ==========================================================================

    x = x + Attention(LayerNorm(x))      Attention = softmax(Q K^T / sqrt(d_k) + causal mask) V, section 3.2
    x = x + W_2 relu(W_1 LayerNorm(x))   section 3.3; no normalisation after the last block, as published for HiSS
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.cpu.threads import compiled_for
from baselines.errors import OptionError
from baselines.layers.base import ALL, SequenceLayer, check_config
from baselines.layers.dropout import Dropout

KVCache = tuple[Tensor, Tensor]
TransformerState = tuple[Tensor, tuple[KVCache, ...]]


@dataclass(frozen=True)
class TransformerConfig:
    """A stack of causal encoder blocks.

    Attributes
    ----------
    dim
        Width; even, and a multiple of ``heads``.
    layers, heads
        Number of blocks, and of attention heads in each.
    feedforward
        Width of the hidden layer of the feed-forward part; None: ``dim``.
    dropout
        Probability of dropping an element of the attention weights, the hidden layer and each residual branch.
    window
        Steps that attention sees, the present one among them; None: the whole past, as published. A stream keeps
        the keys and values of so many steps, so only with a window is its memory bounded. The weights do not
        depend on it: with a window that it was not trained with, a model predicts something else.
    equal_init
        Start all blocks with equal weights, as torch's ``nn.TransformerEncoder`` does, and so the published code.
    """

    kind: ClassVar[str] = "transformer"
    dim: int = 128
    layers: int = 6
    heads: int = 2
    feedforward: int | None = None
    dropout: float = 0.1
    equal_init: bool = False
    window: int | None = None

    def __post_init__(self) -> None:
        check_config(self, positive=("dim", "layers", "heads", "feedforward", "window"), fraction=("dropout",))
        if self.dim % self.heads or self.dim % 2:
            raise OptionError("TransformerConfig.dim", self.dim, f"an even multiple of heads={self.heads}")


def frequencies(dim: int, device: torch.device | str = "cpu") -> Tensor:
    """Return the d_model / 2 angular frequencies of section 3.5, in rad a step, float32."""
    pairs = torch.arange(0, dim, 2, device=device, dtype=torch.float32)
    return torch.exp(pairs * (-math.log(10000.0) / dim))


def positional_encoding(positions: Tensor, dim: int, known: Tensor | None = None) -> Tensor:
    """Return the sinusoids of section 3.5, in float32 whatever the model's precision, as published.

    Parameters
    ----------
    positions
        (L,) integers from 0.
    dim
        d_model.
    known
        The :func:`frequencies`, where they were made beforehand.

    Returns
    -------
    Tensor
        (L, dim) float32.
    """
    angle = positions.to(torch.float32)[:, None] * (frequencies(dim, positions.device) if known is None else known)
    return torch.stack((torch.sin(angle), torch.cos(angle)), dim=-1).flatten(-2)


class TransformerBlock(nn.Module):
    """One pre-norm encoder block with a causal mask."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        dim, hidden = config.dim, config.feedforward or config.dim
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.up, self.down = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.dropout = Dropout(config.dropout)
        nn.init.xavier_uniform_(self.qkv.weight)  # as torch's MultiheadAttention
        nn.init.zeros_(self.qkv.bias)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, readout: slice = ALL) -> Tensor:
        """Map (B, L, dim) to (B, steps in ``readout``, dim)."""
        return self._output(x[:, readout], self._attend(*self._heads(x), readout))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, readout: slice) -> Tensor:
        """Map (B, heads, L, d_k) to (B, heads, steps in ``readout``, d_k)."""
        window, length = self.config.window, k.shape[2]
        p = self.config.dropout if self.training else 0.0
        if p and compiled_for(q) and not torch.is_autocast_enabled("cpu"):
            from baselines.cpu import attention as compiled  # numba is imported only where it is used

            steps = range(length)[readout]
            return compiled.attention(q[:, :, readout], k, v, steps, window, *self.dropout.draw())
        mask = None
        if readout != ALL or window is not None:
            positions = torch.arange(length, device=q.device)
            lag = positions[readout, None] - positions
            mask = lag >= 0 if window is None else (lag >= 0) & (lag < window)
        return F.scaled_dot_product_attention(
            q[:, :, readout], k, v, attn_mask=mask, dropout_p=p, is_causal=mask is None
        )

    def step(self, x_t: Tensor, cache: KVCache, mask: Tensor | None) -> tuple[Tensor, KVCache]:
        """Map (B, 1, dim) and the keys and values (B, heads, t, d_k) of earlier steps, which ``mask`` may hide."""
        q, k, v = self._heads(x_t)
        k, v = torch.cat((cache[0], k), dim=2), torch.cat((cache[1], v), dim=2)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self._output(x_t, y), (k, v) if mask is None else (k[:, :, 1:], v[:, :, 1:])

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        qkv = self.qkv(self.norm1(x)).unflatten(-1, (3, self.config.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v

    def _output(self, x: Tensor, y: Tensor) -> Tensor:
        """Join the heads ``y`` (B, heads, L, d_k), add the residual, and apply the feed-forward part."""
        x = x + self.dropout(self.out(y.transpose(1, 2).flatten(2)))
        hidden = self.dropout(F.relu(self.up(self.norm2(x))))
        return x + self.dropout(self.down(hidden))


class Transformer(SequenceLayer):
    """Positional encoding and a stack of blocks."""

    known_frequencies: Tensor | None

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("known_frequencies", None)  # an exported step has them: ONNX rounds exp otherwise
        self.in_dim = self.out_dim = config.dim
        self.blocks: Sequence[TransformerBlock] = nn.ModuleList(
            TransformerBlock(config) for _ in range(config.layers)
        )  # type: ignore[assignment]
        if config.equal_init:
            for block in self.blocks[1:]:
                block.load_state_dict(self.blocks[0].state_dict())

    def forward(self, x: Tensor, readout: slice = ALL) -> Tensor:
        """Run over whole sequences; see :meth:`SequenceLayer.forward`."""
        positions = torch.arange(x.shape[1], device=x.device)
        x = x + positional_encoding(positions, self.config.dim).to(x.dtype)
        for block in self.blocks[:-1]:
            x = block(x)
        return self.blocks[-1](x, readout)

    def initial_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> TransformerState:
        """Return position 0 and, for each block, keys and values (B, heads, t, d_k).

        Without a window t is 0 and grows; with one it is ``window - 1`` always, and the entries from before the
        first step are hidden.
        """
        heads, cached = self.config.heads, (self.config.window or 1) - 1
        empty = torch.zeros(batch_size, heads, cached, self.config.dim // heads, device=device, dtype=dtype)
        return torch.zeros(1, dtype=torch.int64, device=device), tuple((empty, empty) for _ in self.blocks)

    def step(self, x_t: Tensor, state: TransformerState) -> tuple[Tensor, TransformerState]:
        """Take one sample; without a window the cache grows by one step. See :meth:`SequenceLayer.step`."""
        position, caches = state
        mask, window = None, self.config.window
        if window is not None:
            mask = (torch.arange(window - 1, -1, -1, device=x_t.device) <= position)[None]
        encoding = positional_encoding(position, self.config.dim, self.known_frequencies)
        x = (x_t + encoding.to(x_t.dtype)).unsqueeze(1)
        next_caches = []
        for block, cache in zip(self.blocks, caches, strict=True):
            x, cache = block.step(x, cache, mask)
            next_caches.append(cache)
        return x.squeeze(1), (position + 1, tuple(next_caches))


def transformer_reference(layer: Transformer, x: Tensor) -> Tensor:
    """Compute ``layer(x)``, (B, L, dim) like ``x``, without dropout: one step, head and softmax at a time."""
    config = layer.config
    d_k = config.dim // config.heads
    pe = [
        [(math.sin, math.cos)[j % 2](t / 10000 ** ((j - j % 2) / config.dim)) for j in range(config.dim)]
        for t in range(x.shape[1])
    ]
    x = x + x.new_tensor(pe)
    for block in layer.blocks:
        q, k, v = (block.norm1(x) @ block.qkv.weight.T + block.qkv.bias).chunk(3, dim=-1)
        steps = []
        for t in range(x.shape[1]):
            heads = []
            for h in range(config.heads):
                part = slice(h * d_k, (h + 1) * d_k)
                score = (k[:, : t + 1, part] * q[:, t, None, part]).sum(-1) / math.sqrt(d_k)
                if config.window is not None:
                    score = score[:, -config.window :]
                weight = torch.exp(score) / torch.exp(score).sum(-1, keepdim=True)
                heads.append((weight[..., None] * v[:, : t + 1, part][:, -weight.shape[1] :]).sum(1))
            x_t = x[:, t] + block.out(torch.cat(heads, dim=-1))
            steps.append(x_t + block.down(torch.relu(block.up(block.norm2(x_t)))))
        x = torch.stack(steps, dim=1)
    return x
