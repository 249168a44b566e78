"""One CPU thread a process: the tests share two cores, and sums depend on the number of threads.

Hypothesis draws the same examples in every run, and no clock decides whether a law holds.
"""

import logging
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

from tests.processes import Processes

torch.set_num_threads(1)
settings.register_profile("same", derandomize=True, deadline=None, max_examples=20)
settings.load_profile("same")


@pytest.fixture(scope="session")
def processes() -> Iterator[Processes]:
    """Two, which import all that is needed when first asked."""
    processes = Processes(2)
    yield processes
    processes.end()


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """The query of a URI on an S3 endpoint of this machine: `s3://key:secret@bucket/runs?...`."""
    from moto.server import ThreadedMotoServer  # with a web server: for those who ask for it

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield (
        f"endpoint_override={host}:{port}&scheme=http&region=us-east-1&allow_bucket_creation=true"
    )
    server.stop()
