"""One CPU thread a process: the tests share two cores, and sums depend on the number of threads.

Hypothesis draws the same examples in every run, and no clock decides whether a law holds.
"""

import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("same", derandomize=True, deadline=None, max_examples=30)
settings.load_profile("same")
