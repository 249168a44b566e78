"""What the board shows: one row here, one panel there."""

from dataclasses import dataclass

STAT, LINES = "stat", "lines"


@dataclass(frozen=True)
class Panel:
    """A panel.

    An actor that starts anew has new labels of Ray's, so every expression is of `run` and
    `replica` alone.

    Attributes:
        title: what it shows.
        unit: Grafana's name of it.
        queries: legend -> PromQL; `$run` is what the user chose.
        kind: the newest value, or lines.
        log: on a logarithmic axis.
    """

    title: str
    unit: str
    queries: dict[str, str]
    kind: str = LINES
    log: bool = False


def of_run(name: str) -> str:
    """A gauge of the chosen runs."""
    return f'max by (run) (ray_parle_{name}{{run=~"$run"}})'


def of_replica(name: str) -> str:
    """A gauge of each of their replicas."""
    return f'max by (run, replica) (ray_parle_{name}{{run=~"$run"}})'


def rate(name: str, by: str = "run") -> str:
    """What a counter grows by in a second."""
    return f'sum by ({by}) (rate(ray_parle_{name}_total{{run=~"$run"}}[$__rate_interval]))'


RUN, EACH = "{{run}}", "{{run}}: {{replica}}"
SLOWEST = (
    "histogram_quantile(0.95, sum by (run, le) "
    '(rate(ray_parle_round_duration_s_bucket{run=~"$run"}[$__rate_interval])))'
)
STALLED = f"{of_run('stall_s')} / {of_run('round_s')}"

PANELS = [
    Panel("Round", "none", {RUN: of_run("round"), "of": of_run("num_rounds")}, STAT),
    Panel("Accuracy of the master", "percentunit", {RUN: of_run("accuracy")}, STAT),
    Panel("Replicas alive", "none", {RUN: of_run("replicas_alive")}, STAT),
    Panel("Faults so far", "none", {RUN: of_run("faults")}, STAT),
    Panel("Error of the master", "percentunit", {RUN: of_run("error")}),
    Panel("Training loss", "none", {RUN: of_run("loss")}, log=True),
    Panel("Training loss of each replica", "none", {EACH: of_replica("replica_loss")}, log=True),
    Panel("Distance of the replicas to the master", "none", {RUN: of_run("distance")}),
    Panel("Overlap of the replicas", "none", {RUN: of_run("overlap")}),
    Panel(
        "Scope gamma and inverse coupling rho",
        "none",
        {"{{run}}: gamma": of_run("gamma"), "{{run}}: rho": of_run("rho")},
        log=True,
    ),
    Panel(
        "Learning rates",
        "none",
        {"{{run}}: lr": of_run("lr"), "{{run}}: outer_lr": of_run("outer_lr")},
    ),
    Panel(
        "Time of a round",
        "s",
        {
            "{{run}}: newest": of_run("round_s"),
            "{{run}}: 95 %": SLOWEST,
            "{{run}}: exchange": of_run("exchange_s"),
        },
    ),
    Panel("Part of a round that replicas stand still", "percentunit", {RUN: STALLED}),
    Panel("Time that each replica walked a round", "s", {EACH: of_replica("replica_walk_s")}),
    Panel("Exchange of each replica", "s", {EACH: of_replica("replica_exchange_s")}),
    Panel("Stall of each replica", "s", {EACH: of_replica("replica_stall_s")}),
    Panel("Answers in the last round", "none", {EACH: of_replica("replica_up")}),
    Panel("Last round of each replica", "none", {EACH: of_replica("replica_round")}),
    Panel("Answers of each replica", "ops", {EACH: rate("replica_answers", "run, replica")}),
    Panel("Rounds", "ops", {RUN: rate("rounds")}),
    Panel("Examples", "cps", {RUN: rate("samples")}),
    Panel("Traffic of the exchange", "Bps", {RUN: rate("bytes")}),
    Panel(
        "Pushes merged in a round",
        "none",
        {"{{run}}: merged": of_run("merged"), "{{run}}: late": of_run("late")},
    ),
    Panel(
        "Staleness of pushes",
        "none",
        {"{{run}}: mean": of_run("staleness"), "{{run}}: max": of_run("staleness_max")},
    ),
    Panel("Pushes refused", "ops", {RUN: rate("refusals")}),
    Panel(
        "Memory of Ray's object store",
        "bytes",
        {"{{instance}}": "sum by (instance) (ray_object_store_memory)"},
    ),
]
