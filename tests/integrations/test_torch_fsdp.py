"""Parameters that `fully_shard` spreads over processes: each steps its part, with the same bits."""

import json
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


def train(processes, trainings):
    """Run the trainings one after another in the same processes, since starting takes longest."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": str(processes),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-W", "ignore", str(WORKER), json.dumps(trainings, default=str)]
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


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The results, by the name of the optimizer and that of the training.

    "straight" has six steps by one process, "half" three, and "two" three by two processes. "on"
    has three more by one process, from the checkpoint of "two".
    """
    folder = tmp_path_factory.mktemp("fsdp")

    def training(kind, called, steps, **checkpoint):
        name, dtype = kind
        result = folder / f"{name}-{called}.pt"
        return {"name": name, "dtype": dtype, "steps": steps, "result": result, **checkpoint}

    checkpoints = {kind: folder / kind[0] for kind in KINDS}
    train(2, [training(kind, "two", 3, save=saved) for kind, saved in checkpoints.items()])
    alone = []
    for kind, saved in checkpoints.items():
        alone += [training(kind, "straight", 6), training(kind, "half", 3)]
        alone += [training(kind, "on", 3, load=saved)]
    train(1, alone)
    return lambda name, called: torch.load(folder / f"{name}-{called}.pt")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, _ in KINDS])
def test_a_checkpoint_of_two_processes_goes_on_in_one_as_if_uninterrupted(name, trained):
    """States are sharded as their parameters are, and saved and loaded as such."""
    assert_equal(trained(name, "two"), trained(name, "half"))
    assert_equal(trained(name, "on"), trained(name, "straight"))
