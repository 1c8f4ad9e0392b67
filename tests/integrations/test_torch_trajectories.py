"""Small networks trained by fastopt and by torch take the same path for a hundred steps and more.

In float64 the two differ only by the order of roundings, 1e-16 a step, which training amplifies. In
float32 it amplifies 1e-7. Single weights may then differ after so many steps, so the test compares
the loss of every step, to a relative 1e-3.

No layer has a bias whose gradient is zero except for rounding (that of keys, or one before a
normalization): a rule that divides by the size of the gradient would step it in any direction.
"""

import pytest
import torch
from torch_cases import NAMES

from fastopt.integrations import torch as fast

STEPS = {torch.float64: 200, torch.float32: 100}
RULES = {
    "SGD": {"lr": 0.02, "momentum": 0.9, "nesterov": True},
    "Adagrad": {"lr": 0.01},
    "Adadelta": {"lr": 0.5},
    "Adam": {"lr": 1e-3, "weight_decay": 1e-3},
    "AdamW": {"lr": 1e-3},
    "Adamax": {"lr": 5e-3},
    "ASGD": {"lr": 0.05},
    "NAdam": {"lr": 1e-3},
    "RAdam": {"lr": 5e-3},
    "RMSprop": {"lr": 1e-3},
    "Rprop": {"lr": 1e-4},
}


class Transformer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(11, 16)
        layer = torch.nn.TransformerEncoderLayer(
            16, 2, 32, dropout=0.0, batch_first=True, bias=False
        )
        self.encoder = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = torch.nn.Linear(16, 11)

    def forward(self, tokens):
        return self.head(self.encoder(self.embedding(tokens))).flatten(0, 1)

    def batch(self, generator):
        """Tokens, and the same tokens in reverse."""
        tokens = torch.randint(11, (8, 6), generator=generator)
        return tokens, tokens.flip(1).flatten()


class ConvolutionalNetwork(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(1, 4, 3, padding=1, bias=False),
            torch.nn.BatchNorm2d(4),
            torch.nn.Tanh(),
            torch.nn.Conv2d(4, 8, 3, stride=2),
            torch.nn.Tanh(),
            torch.nn.Flatten(),
            torch.nn.Linear(72, 4),
        )

    def forward(self, images):
        return self.layers(images.to(self.layers[0].weight.dtype))

    def batch(self, generator):
        """Noise with one brighter quadrant, which is the class."""
        images = torch.randn((16, 1, 8, 8), generator=generator)
        labels = torch.randint(4, (16,), generator=generator)
        for image, label in zip(images, labels.tolist(), strict=True):
            row, column = divmod(label, 2)
            image[0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 1
        return images, labels


def train(network, dtype, library, name):
    torch.manual_seed(0)
    model = network().to(dtype)
    optimizer = getattr(library, name)(model.parameters(), **RULES[name])
    generator = torch.Generator().manual_seed(1)
    losses = []
    for _ in range(STEPS[dtype]):
        inputs, labels = model.batch(generator)
        loss = torch.nn.functional.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return torch.tensor(losses, dtype=torch.float64), list(model.parameters())


def train_both(network, dtype, name):
    return [train(network, dtype, library, name) for library in (fast, torch.optim)]


def test_every_class_is_trained_with():
    assert set(RULES) == set(NAMES)


@pytest.fixture(autouse=True)
def one_thread():
    """So small a network is fastest with one thread, and its sums have one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("network", [Transformer, ConvolutionalNetwork])
def test_the_path_in_float64_is_that_of_torch(network, name):
    (losses, params), (expected, others) = train_both(network, torch.float64, name)
    torch.testing.assert_close(losses, expected, rtol=1e-9, atol=0)
    for param, other in zip(params, others, strict=True):
        torch.testing.assert_close(param, other, rtol=1e-7, atol=1e-9)
    assert losses[-10:].mean() < 0.9 * losses[:10].mean()


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("network", [Transformer, ConvolutionalNetwork])
def test_the_path_in_float32_is_that_of_torch(network, name):
    (losses, _), (expected, _) = train_both(network, torch.float32, name)
    torch.testing.assert_close(losses, expected, rtol=1e-3, atol=0)
