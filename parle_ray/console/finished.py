"""The configuration with which a run was made, from its folder."""

import tempfile

import yaml

from parle_ray.console.arguments import make_parser, read
from parle_ray.console.config import Config
from parle_ray.errors import InputError, StorageError
from parle_ray.runs.storage import Folder


def config_of(run: Folder, otherwise: str) -> Config:
    """The configuration of a run of the command line.

    Args:
        run: its folder.
        otherwise: what to do with a run that has none, or one that was made in Python.

    Raises:
        InputError: this is such a run, or the file is damaged.
        StorageError: the storage cannot be reached.
    """
    try:
        content = run.read("config.yaml")
    except FileNotFoundError as error:
        raise InputError(f"{run}: there is no config.yaml in it; {otherwise}") from error
    except OSError as error:
        raise StorageError(f"{run}/config.yaml cannot be read: {error}; {otherwise}") from error
    try:
        named = "model" in yaml.safe_load(content)
    except (yaml.YAMLError, TypeError):
        named = False
    if not named:
        raise InputError(
            f"{run}/config.yaml names no network, as ParleTrainer was given a function; {otherwise}"
        )
    with tempfile.NamedTemporaryFile(suffix=".yaml") as file:
        file.write(content)
        file.flush()
        try:
            return read(make_parser("config", ""), ["--config", file.name])[0]
        except InputError as error:
            raise InputError(f"{run}/config.yaml: {error}; {otherwise}") from error
