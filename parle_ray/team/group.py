"""The processes of a replica as torch's process group: gloo between CPUs, NCCL between GPUs.

They are on one node, so all that is not NCCL's own goes over the loopback interface.
"""

import os
import socket
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import Tensor, distributed
from torch._C._distributed_c10d import Store, TCPStore

from parle_ray.team.base import TeamBroken

TIMEOUT_S = 600.0
"""How long a process waits for the others: a model may have to be compiled in one of them."""
HOST = "127.0.0.1"
LOOPBACK = ("lo", "lo0")
"""What Linux and macOS call it."""


def open_store(size: int) -> TCPStore:
    """The meeting point of so many processes, on a `port` that the system chooses."""
    listener = socket.create_server((HOST, 0))
    port = listener.getsockname()[1]
    return TCPStore(
        HOST,
        port,
        size,
        is_master=True,
        wait_for_workers=False,
        master_listen_fd=listener.detach(),
    )


def find_store(port: int, size: int) -> TCPStore:
    """The same, for those who did not open it."""
    return TCPStore(HOST, port, size, is_master=False)


class TorchGroup:
    """This process's default group, which has the processes of one replica in it and no others.

    Args:
        store: where they meet.
        index: which process this is.
        size: how many there are.
        device: on which it computes.
        timeout_s: after which one that does not answer is given up.
    """

    def __init__(
        self,
        store: Store,
        index: int,
        size: int,
        device: torch.device,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.index, self.size = index, size
        self._others = [other for other in range(size) if other != index]
        own = [name for _, name in socket.if_nameindex() if name in LOOPBACK]
        os.environ["GLOO_SOCKET_IFNAME"] = own[0]
        with _explained():
            distributed.init_process_group(
                "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
                store=store,
                rank=index,
                world_size=size,
                timeout=timedelta(seconds=timeout_s),
            )

    @property
    def torchs(self) -> distributed.ProcessGroup:
        """The group itself, for what torch does with it."""
        group = distributed.group.WORLD
        assert group is not None
        return group

    def swap(self, gives: Sequence[Tensor], takes: Sequence[Tensor]) -> None:
        """Give process j `gives[j]` and fill `takes[j]` by what it gives; not with oneself."""
        calls = [
            distributed.P2POp(call, tensors[other], other)
            for other in self._others
            for call, tensors in ((distributed.isend, gives), (distributed.irecv, takes))
            if tensors[other].numel()
        ]
        with _explained():
            for work in distributed.batch_isend_irecv(calls) if calls else ():
                work.wait()

    def broadcast(self, tensor: Tensor) -> None:
        """Fill it, in all others, by what it is in the first."""
        with _explained():
            distributed.broadcast(tensor, 0)

    def send(self, tensor: Tensor, other: int) -> Callable[[], None]:
        """Give it to one, who takes what it is given in order; waits until it may be changed."""
        with _explained():
            work = distributed.isend(tensor, other)
        assert work is not None

        def wait() -> None:
            with _explained():
                work.wait()
            _ = tensor  # which was not to be forgotten before

        return wait

    def receive(self, tensor: Tensor, other: int) -> None:
        """Fill it by what that one has sent."""
        with _explained():
            distributed.recv(tensor, other)

    def gather(self, whole: Tensor, own: Tensor) -> None:
        """Fill `whole` by what all have, end to end, in their order; each has as much."""
        with _explained():
            distributed.all_gather_single(whole, own)

    def leave(self) -> None:
        """Close the connections, which those who wait for this process notice at once."""
        distributed.destroy_process_group()


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        traceback.clear_frames(error.__traceback__)  # they have what keeps connections open
        raise TeamBroken(str(error).partition("\n")[0]) from error
