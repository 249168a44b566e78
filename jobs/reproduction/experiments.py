"""The paper's experiments: what was run, what it found, and where we depart from it.

Errors are the means in the plot code that the authors published (`pratikac/distributed-ensembles`,
July 2017); the paper's tables have the same. All are errors on the test set, in %.
"""

from collections.abc import Mapping
from dataclasses import dataclass

UNSAID = "of the last evaluation or of the best: it is not said"
BEST = "of the best evaluation on the test set, by which nothing may be chosen"

DEPARTURES = (
    "Images: the authors whiten CIFAR's (contrast of each image, then ZCA); here mean and "
    "deviation of each channel.",
    "Sampling: theirs with replacement; here each pass is a shuffle.",
    "Start: theirs gives each replica its own first weights; here all have the same.",
    "Batch norm: theirs feeds the whole training set to the master before an evaluation; here 50 "
    "mini-batches.",
    "Split data: theirs draws each replica's part by itself; here parts are cyclic windows of one "
    "permutation.",
)
"""Of all experiments; the equations and schedules are those of the authors' experiments."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One row of the paper's tables.

    Attributes:
        title: network, data and replicas.
        config: the YAML in `jobs/configs` that it is made of.
        num_replicas: n.
        errors: method -> test error, %, as published.
        convention: which of a run's evaluations the published error is.
        departs: what differs here, beside `DEPARTURES`.
    """

    title: str
    config: str
    num_replicas: int
    errors: Mapping[str, float]
    convention: str = UNSAID
    departs: str = ""


EXPERIMENTS: dict[str, Experiment] = {
    "lenet_mnist": Experiment(
        title="LeNet, MNIST, n = 6",
        config="mnist_lenet",
        num_replicas=6,
        errors={"Parle": 0.44, "Elastic-SGD": 0.48, "Entropy-SGD": 0.49, "SGD": 0.50},
        departs="The rate's steps are those of the other networks: LeNet's were not to be found.",
    ),
    "allcnn_cifar10": Experiment(
        title="All-CNN, CIFAR-10, n = 3",
        config="cifar10_allcnn",
        num_replicas=3,
        errors={"Parle": 5.18, "Entropy-SGD": 5.76, "SGD": 6.15},
    ),
    "allcnn_cifar10_half": Experiment(
        title="All-CNN, half of CIFAR-10 for each replica, n = 3",
        config="cifar10_allcnn_half",
        num_replicas=3,
        errors={"Parle": 5.89, "Elastic-SGD": 6.51, "SGD on all images": 6.15},
    ),
    "allcnn_cifar10_quarter": Experiment(
        title="All-CNN, a quarter of CIFAR-10 for each replica, n = 6",
        config="cifar10_allcnn_quarter",
        num_replicas=6,
        errors={"Parle": 6.08, "Elastic-SGD": 6.8, "SGD on all images": 6.15},
    ),
    "wrn_cifar10": Experiment(
        title="WRN-28-10, CIFAR-10, n = 3",
        config="cifar10_wrn",
        num_replicas=3,
        errors={"Parle": 3.24, "Elastic-SGD": 4.38, "Entropy-SGD": 4.23, "SGD": 4.29},
        departs="The one published learning curve of Parle ends at 3.42.",
    ),
    "wrn_cifar10_8": Experiment(
        title="WRN-28-10, CIFAR-10, n = 8",
        config="cifar10_wrn",
        num_replicas=8,
        errors={"Parle": 3.77},
        departs="Batch size and schedule of n = 8 were not to be found: those of n = 3.",
    ),
    "wrn_cifar100": Experiment(
        title="WRN-28-10, CIFAR-100, n = 3",
        config="cifar100_wrn",
        num_replicas=3,
        errors={"Parle": 17.64, "Elastic-SGD": 21.36, "Entropy-SGD": 19.05, "SGD": 18.85},
        convention=BEST,
    ),
    "wrn_cifar100_8": Experiment(
        title="WRN-28-10, CIFAR-100, n = 8",
        config="cifar100_wrn",
        num_replicas=8,
        errors={"Parle": 17.76},
        departs="Batch size and schedule of n = 8 were not to be found: those of n = 3.",
    ),
    "wrn_svhn": Experiment(
        title="WRN-16-4, SVHN, n = 3",
        config="svhn_wrn",
        num_replicas=3,
        errors={"Parle": 1.68, "Elastic-SGD": 1.57, "Entropy-SGD": 1.64, "SGD": 1.62},
        departs="Theirs trains on the 531,131 extra images too; here on the training set alone.",
    ),
}
"""Name -> experiment."""
