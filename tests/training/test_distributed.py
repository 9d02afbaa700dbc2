"""Two processes over gloo against one with the whole batch."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from phenobench.training.cwa_msn import CwaMsnRecipe
from phenobench.training.distributed import World
from phenobench.training.trainer import accumulate, parallel
from tests.training.screens import make_screen, parsed

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
PROGRAM = """
import sys
import torch
from phenobench.training.distributed import joined
from tests.training.test_distributed import gradients

with joined() as world:
    found = gradients(world)
    if world.first:
        torch.save(found, sys.argv[1])
"""


def gradients(world: World) -> dict[str, torch.Tensor]:
    """Of the first step, in two parts, as the trainer computes them."""
    rules = parsed().optimisation.model_copy(update={"batch": 16, "accumulate": 2})
    recipe = CwaMsnRecipe(parsed().model_copy(update={"optimisation": rules}), make_screen())
    network = parallel(recipe.network, world, CPU)
    accumulate(recipe, network, iter([recipe.batch(0, part, world) for part in range(2)]), 0, CPU)
    found = {}
    for name, parameter in recipe.network.named_parameters():
        assert parameter.grad is not None
        found[name] = parameter.grad
    return found


def test_two_processes_give_the_gradients_of_one_at_the_double_batch(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    path = tmp_path / "gradients.pt"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(path)], env={**environment, "RANK": str(rank)}, stderr=subprocess.PIPE
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    two = torch.load(path, weights_only=True)
    one = gradients(World())
    assert set(one) == set(two)
    largest = max(value.abs().max().item() for value in one.values())
    assert largest > 1e-2
    for name, value in one.items():
        assert torch.allclose(two[name], value, rtol=0, atol=1e-5 * largest), name


@pytest.mark.parametrize(("rank", "wanted"), [(0, slice(0, 4)), (2, slice(8, 12))])
def test_shares_are_even_and_in_order(rank: int, wanted: slice) -> None:
    assert World(rank, 3).share(12) == wanted
