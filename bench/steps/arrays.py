"""What is stepped: tensors in ordinary memory, and the shapes of three models."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np

# All numbers must stay normal over long runs of steps: subnormal ones cost some CPUs a hundred
# times as much. A tiny lr leaves the parameters near where they started, however many steps are
# taken. Gradients that are fixed and not near zero keep the moments near 1: they do not decay, and
# Adagrad's sum does not overflow.
LR = 1e-6
STEP = 1000  # the fixed `step` of the functions: powers of betas cost less for the first steps

ALIGNMENT = 64


class Tensor(NamedTuple):
    """One parameter with its gradient and the state arrays of a rule, in the rule's order."""

    param: np.ndarray
    grad: np.ndarray
    states: tuple[np.ndarray, ...]


def aligned_empty(shape, dtype, alignment: int = ALIGNMENT) -> np.ndarray:
    """An uninitialised array that starts at a multiple of `alignment` bytes, as torch's do."""
    dtype = np.dtype(dtype)
    nbytes = math.prod(shape) * dtype.itemsize
    memory = np.empty(nbytes + alignment, np.uint8)
    start = -memory.ctypes.data % alignment
    return memory[start : start + nbytes].view(dtype).reshape(shape)


def aligned_copy(array: np.ndarray) -> np.ndarray:
    copy = aligned_empty(array.shape, array.dtype)
    copy[...] = array
    return copy


def make_tensors(rule, shapes, dtype, seed: int = 0) -> list[Tensor]:
    """Parameters and gradients of size about 1, states zero."""
    rng = np.random.default_rng(seed)
    tensors = []
    for shape in shapes:
        param, grad, *states = (aligned_empty(shape, dtype) for _ in range(2 + len(rule.states)))
        # A short random block repeated: drawing 4e7 numbers would take longer than timing them.
        block = rng.standard_normal(min(param.size, 65_536)).astype(dtype)
        sign = np.where(rng.random(block.size) < 0.5, -1, 1)
        param.reshape(-1)[:] = np.resize(block, param.size)
        grad.reshape(-1)[:] = np.resize(sign * (0.5 + rng.random(block.size)), grad.size)
        for state in states:
            state.fill(0)
        tensors.append(Tensor(param, grad, tuple(states)))
    return tensors


def in_torch_memory(tensors: list[Tensor]) -> list[Tensor]:
    """The same where torch puts tensors, and without states: its optimizers make their own."""
    import torch

    def move(array):
        return torch.from_numpy(array).clone().numpy()

    return [Tensor(move(tensor.param), move(tensor.grad), ()) for tensor in tensors]


PAGE = 4096


def apart_in_pages(tensors: list[Tensor], distance: int) -> list[Tensor]:
    """The same where each array begins some bytes later in its page than the one before."""

    def move(array, number):
        memory = np.empty(array.nbytes + 2 * PAGE, np.uint8)
        start = -memory.ctypes.data % PAGE + number * distance % PAGE
        moved = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        moved[...] = array
        return moved

    moved = []
    for param, grad, states in tensors:
        param, grad, *states = (move(a, k) for k, a in enumerate((param, grad, *states)))
        moved.append(Tensor(param, grad, tuple(states)))
    return moved


def bytes_per_element(rule, dtype) -> int:
    """Memory traffic of one step: the gradient is read, everything else read and written."""
    return np.dtype(dtype).itemsize * (3 + 2 * len(rule.states))


def mlp_shapes() -> list[tuple[int, ...]]:
    """A perceptron 64-32-32-10: three weights, three biases."""
    widths = (64, 32, 32, 10)
    return [
        shape
        for inputs, outputs in itertools.pairwise(widths)
        for shape in ((outputs, inputs), (outputs,))
    ]


def resnet50_shapes() -> list[tuple[int, ...]]:
    """ResNet-50 (He et al. 2015): 161 tensors, 25.6 million parameters."""

    def convolution(inputs, outputs, kernel):
        return [(outputs, inputs, kernel, kernel), (outputs,), (outputs,)]  # with its batch norm

    shapes = convolution(3, 64, 7)
    inputs = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            shapes += convolution(inputs, width, 1)
            shapes += convolution(width, width, 3)
            shapes += convolution(width, 4 * width, 1)
            if block == 0:
                shapes += convolution(inputs, 4 * width, 1)
            inputs = 4 * width
    return [*shapes, (1000, inputs), (1000,)]


def gpt2_shapes() -> list[tuple[int, ...]]:
    """GPT-2 small (Radford et al. 2019), head tied: 148 tensors, 124 million parameters."""
    width = 768
    norm = [(width,), (width,)]
    attention = [(width, 3 * width), (3 * width,), (width, width), (width,)]
    feed_forward = [(width, 4 * width), (4 * width,), (4 * width, width), (width,)]
    block = [*norm, *attention, *norm, *feed_forward]
    return [(50_257, width), (1024, width), *(12 * block), *norm]


def cnn_shapes() -> list[tuple[int, ...]]:
    """Three convolutions and two dense layers for 32 by 32 images: 10 tensors, 620 thousand."""
    widths = (3, 32, 64, 128)
    convolutions = [shape for a, b in itertools.pairwise(widths) for shape in ((b, a, 3, 3), (b,))]
    return [*convolutions, (256, 128 * 4 * 4), (256,), (10, 256), (10,)]


def transformer_shapes() -> list[tuple[int, ...]]:
    """Two layers of width 64 over 128 tokens, as torch.nn.TransformerEncoderLayer has them."""
    width = 64
    attention = [(3 * width, width), (3 * width,), (width, width), (width,)]
    feed_forward = [(4 * width, width), (4 * width,), (width, 4 * width), (width,)]
    layer = [*attention, *feed_forward, *(4 * [(width,)])]
    return [(128, width), *(2 * layer), (128, width), (128,)]


MODELS = {"mlp": mlp_shapes, "resnet50": resnet50_shapes, "gpt2": gpt2_shapes}
DROP_IN_MODELS = {"mlp": mlp_shapes, "transformer": transformer_shapes, "cnn": cnn_shapes, **MODELS}
