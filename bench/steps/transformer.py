"""A small transformer that learns the characters of Python's manual, which Python brings along."""

from __future__ import annotations

from pydoc_data.topics import topics

import numpy as np
import torch
from torch import nn

CONTEXT, BATCH, WIDTH, HEADS, LAYERS = 64, 16, 64, 4, 2


class Text:
    """Characters as numbers; the last tenth is not learned from."""

    def __init__(self) -> None:
        text = "\n".join(topics[name] for name in sorted(topics))
        characters = sorted(set(text))
        number = {character: index for index, character in enumerate(characters)}
        numbers = torch.tensor([number[character] for character in text])
        self.size = len(characters)
        end = 9 * len(numbers) // 10
        self.learned, self.held_out = numbers[:end], numbers[end:]

    def batch(self, numbers: torch.Tensor, rng: np.random.Generator) -> tuple[torch.Tensor, ...]:
        """Random stretches of text, and the same one character later."""
        starts = rng.integers(len(numbers) - CONTEXT - 1, size=BATCH)
        taken = torch.stack([numbers[start : start + CONTEXT + 1] for start in starts])
        return taken[:, :-1], taken[:, 1:]


class Transformer(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size, WIDTH)
        self.places = nn.Parameter(0.02 * torch.randn(CONTEXT, WIDTH))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                WIDTH, HEADS, 4 * WIDTH, dropout=0.0, batch_first=True, norm_first=True
            )
            for _ in range(LAYERS)
        )
        self.norm = nn.LayerNorm(WIDTH)
        self.output = nn.Linear(WIDTH, size)
        self.mask = nn.Transformer.generate_square_subsequent_mask(CONTEXT)

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        hidden = self.embedding(numbers) + self.places
        for layer in self.layers:
            hidden = layer(hidden, src_mask=self.mask, is_causal=True)
        return self.output(self.norm(hidden))


def loss_of(model: Transformer, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
    numbers, following = batch
    return nn.functional.cross_entropy(model(numbers).flatten(0, 1), following.flatten())
