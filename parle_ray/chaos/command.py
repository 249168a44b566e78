"""`python -m parle_ray chaos`: a run without faults and one with, and what they did to it."""

import argparse
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from parle_ray.chaos.kinds import KINDS
from parle_ray.chaos.show import fault_lines, table
from parle_ray.console import own
from parle_ray.console.commands import make_trainer, name_of_run
from parle_ray.console.parser import Parser
from parle_ray.console.recipe import Recipe, make_recipe
from parle_ray.errors import InputError


def chaos(argv: Sequence[str], prog: str) -> int:
    """Run a task once as it is, and once under a storm of faults.

    Takes train's arguments too; --seed is also that of the storm. Ends with status 1 if a round is
    missing or repeated, if no round was reported for too long, or if the loss is off.
    """
    given = own.split(_parser(prog), argv)
    if given is None:
        return 0
    asked, config, _ = given
    kinds = _kinds(asked)
    recipe = make_recipe(config)
    from parle_ray.chaos.schedule import storm

    faults = storm(
        kinds,
        asked.num_faults,
        num_replicas=config.num_replicas,
        num_rounds=recipe.planned_rounds,
        seed=config.seed,
    )
    name = name_of_run(config, "chaos")
    with ExitStack() as stack:
        renew = _start_cluster(asked, config.address, stack)
        calm = _run(recipe, f"{name}_calm", []) if asked.baseline == "true" else None
        told = _judge(asked, recipe, calm, _run(recipe, name, faults, renew))
    told = {"command": [prog, "chaos", *argv], "seed": config.seed, **told}
    print("\n".join([*fault_lines(told["faults"]), *table(told)]))
    if asked.json:
        Path(asked.json).write_text(json.dumps(told, indent=1) + "\n")
    return 1 if told["broken"] else 0


def _kinds(asked: argparse.Namespace) -> list[str]:
    """Those that are asked for, or all that can be.

    Raises:
        InputError: one needs nodes that there are not.
    """
    if asked.faults is None:
        return [name for name, kind in KINDS.items() if asked.nodes > 1 or not kind.node]
    kinds = [kind.strip() for kind in asked.faults.split(",") if kind.strip()]
    apart = [kind for kind in kinds if kind in KINDS and KINDS[kind].node]
    if apart and asked.nodes < 2:
        raise InputError(f"faults: {apart[0]!r} takes a node away; give --nodes 2 or more")
    return kinds


def _start_cluster(
    asked: argparse.Namespace, address: str | None, stack: ExitStack
) -> Callable[[], object]:
    """A cluster of its own where one is asked for; what starts one more node there."""
    if not asked.nodes and not asked.rpc_failures:
        return lambda: None
    if address:
        raise InputError("nodes, rpc_failures: they start a cluster; leave --address out")
    from parle_ray.chaos.local_cluster import LocalCluster, failing_calls

    environment = failing_calls(asked.rpc_failures) if asked.rpc_failures else {}
    return stack.enter_context(LocalCluster(max(2, asked.nodes), environment)).add


def _parser(prog: str) -> Parser:
    faults = {name: kind.does for name, kind in KINDS.items()}
    parser = Parser(f"{prog} chaos [TRAIN'S ARGUMENTS]", f"{chaos.__doc__}\nfaults:", faults)
    parser.add_argument(
        "--faults", help="kinds, with commas between; all that there can be if not given"
    )
    parser.add_argument(
        "--nodes",
        type=int,
        default=0,
        help="start a cluster of so many nodes on this machine, the first for the coordinator",
    )
    parser.add_argument(
        "--rpc_failures",
        type=int,
        default=0,
        metavar="PERCENT",
        help="so many calls of actors are lost, and as many replies; starts a cluster",
    )
    parser.add_argument("--num_faults", type=int, default=20)
    parser.add_argument(
        "--baseline", choices=["true", "false"], default="true", help="first without faults"
    )
    parser.add_argument(
        "--tolerance", type=float, default=0.1, help="how far the final loss may be off"
    )
    parser.add_argument(
        "--pause", type=float, default=30.0, help="seconds in which some round must be reported"
    )
    parser.add_argument("--json", metavar="FILE", help="write all figures there")
    return parser


def _run(
    recipe: Recipe,
    name: str,
    faults: Sequence[Any],
    renew: Callable[[], object] = lambda: None,
) -> tuple[Any, Any]:
    from parle_ray.chaos.injector import Injector

    injector = Injector(faults, name, renew)
    try:
        return make_trainer(recipe, name, [injector]).fit(), injector
    finally:
        injector.close()


def _judge(
    asked: argparse.Namespace, recipe: Recipe, calm: tuple[Any, Any] | None, storm: tuple[Any, Any]
) -> dict[str, Any]:
    """All figures of both runs."""
    from parle_ray.chaos import verdict
    from parle_ray.chaos.result import rounds_of
    from parle_ray.runs.run_folder import versions

    (result, injector), steps = storm, recipe.planned_steps / recipe.planned_rounds
    loss = result.metrics["loss"]
    loss_calm = calm[0].metrics["loss"] if calm else None
    off = loss - loss_calm if loss_calm is not None else None
    rate, rate_calm = (
        verdict.rounds_per_s(one[1].seen) if one is not None else None for one in (storm, calm)
    )
    rounds = rounds_of(result)
    return {
        "versions": versions(),
        "faults": [verdict.as_row(one, injector.seen) for one in injector.struck],
        "by_kind": verdict.by_kind(injector.struck, injector.seen),
        "rounds": len(set(rounds)),
        "longest_pause_s": verdict.longest_pause_s(injector.seen),
        "steps_per_s": rate and rate * steps,
        "steps_per_s_without_faults": rate_calm and rate_calm * steps,
        "loss": loss,
        "loss_without_faults": loss_calm,
        "loss_off_by": off,
        "accuracy": result.metrics.get("accuracy"),
        "accuracy_without_faults": calm[0].metrics.get("accuracy") if calm else None,
        "broken": verdict.broken(
            rounds,
            recipe.planned_rounds,
            injector.seen,
            pause_s=asked.pause,
            off=off,
            tolerance=asked.tolerance,
        ),
    }
