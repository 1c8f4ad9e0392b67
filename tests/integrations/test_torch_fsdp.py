"""Parameters that `fully_shard` spreads over processes: each steps its part, with the same bits."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch_cases import assert_equal

WORKER = Path(__file__).parent / "fsdp_worker.py"
KINDS = [("AdamW", "bfloat16"), ("Adagrad", "float32")]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def train(processes, name, dtype, steps, result, load="", save=""):
    """Train with so many processes; whole parameters and states as they then are."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": str(processes),
        "OMP_NUM_THREADS": "1",
    }
    arguments = map(str, (name, dtype, steps, load, save, result))
    command = [sys.executable, "-W", "ignore", str(WORKER), *arguments]
    started = [
        subprocess.Popen(
            command,
            env={**environment, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(processes)
    ]
    try:
        said = [process.communicate(timeout=100)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0] * processes, "\n".join(said)
    return torch.load(result)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dtype"), KINDS)
def test_a_checkpoint_of_two_processes_goes_on_in_one_as_if_uninterrupted(name, dtype, tmp_path):
    """States are sharded as their parameters are, and saved and loaded as such."""
    straight = train(1, name, dtype, 6, tmp_path / "straight.pt")
    halfway = train(1, name, dtype, 3, tmp_path / "half.pt")
    saved = tmp_path / "checkpoint"
    assert_equal(train(2, name, dtype, 3, tmp_path / "two.pt", save=saved), halfway)
    assert_equal(train(1, name, dtype, 3, tmp_path / "on.pt", load=saved), straight)
