"""Search for good values: `python -m parle_ray tune` as a job.

RAY_AUTH_MODE=token ray job submit --address http://HEAD:8265 --working-dir . -- \\
    python -m jobs.tune --config jobs/configs/cifar10_allcnn.yaml --gpus_per_replica 1 \\
        --vary "strategy.rho=loguniform(1, 16)" --storage_path /shared/tune
"""

import sys

try:
    from parle_ray.cli import main
except ModuleNotFoundError as error:
    if error.name != "parle_ray":
        raise
    sys.exit("parle_ray is not on the path: run `python -m jobs.tune` in the repository's folder")

if __name__ == "__main__":
    sys.exit(main(["tune", *sys.argv[1:]]))
