"""Made-up runs of a comparison."""

import pandas as pd

from jobs.comparison.cases import Case
from jobs.comparison.store import Run, frame


def run_of(*errors: float, per: int = 100, seconds: float = 1.0, loss: float = 0.5) -> Run:
    """A run with these errors at one, two, ... times `per` gradients and `seconds`."""
    return Run(
        evaluations=[
            {
                "gradients": per * (i + 1),
                "train_s": seconds * (i + 1),
                "bytes_sent": 10.0 * (i + 1),
                "error": error,
                "test_loss": loss,
            }
            for i, error in enumerate(errors)
        ],
        fit_s=9.0,
    )


def case(method: str, seed: int = 0, length: float = 1.0) -> Case:
    return Case(method=method, lr=0.1, seed=seed, length=length)


def rows() -> pd.DataFrame:
    """SGD ends at 0.2 and 0.3; Parle has 0.25 after one of two evaluations, with one seed of 2."""
    return frame(
        {
            case("ray_train_ddp", 0): run_of(0.5, 0.2),
            case("ray_train_ddp", 1): run_of(0.5, 0.3),
            case("parle", 0): run_of(0.25, 0.1, seconds=3.0),
            case("parle", 1): run_of(0.35, 0.26, seconds=3.0),
            case("diloco", 0): Run(evaluations=run_of(0.1).evaluations, diverged=True),
        }
    )
