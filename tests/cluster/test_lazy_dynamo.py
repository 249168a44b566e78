"""A process that does not compile does without the compiler; one that does has it whole."""

import subprocess
import sys

SCRIPT = """
import sys
import torch
from parle_ray import lazy_dynamo

def train(kind, compiled):
    torch.manual_seed(0)
    module = torch.nn.Linear(4, 3)
    optimizer = kind(module.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    forward = torch.compile(module, backend="eager") if compiled else module
    for _ in range(3):
        optimizer.zero_grad()
        forward(torch.ones(2, 4)).square().sum().backward()
        optimizer.step()
        schedule.step()
    optimizer.load_state_dict(optimizer.state_dict())
    return module.weight.detach().clone()

def is_here():
    return "torch._dynamo.eval_frame" in sys.modules

kinds = (torch.optim.SGD, torch.optim.AdamW)
lazy_dynamo.install()
without = [train(kind, compiled=False) for kind in kinds]
assert not is_here()
compiled = [train(kind, compiled=True) for kind in kinds]
assert is_here()
lazy_dynamo.install()
assert torch._dynamo is sys.modules["torch._dynamo"] and torch._dynamo.config.cache_size_limit
for one, other, third in zip(without, compiled, map(lambda k: train(k, False), kinds)):
    assert torch.equal(one, other) and torch.equal(one, third)
print("done")
"""


def test_the_compiler_comes_when_it_is_asked_for_and_changes_no_bit() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=220
    )
    assert done.stdout == "done\n", done.stderr
