"""Opens what a stage takes, as far as the keys of the artifacts vouch for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data.contract import ConfigError, StoreError
from models.own_model_config import FileModelConfig
from pipeline.config import RunConfig
from pipeline.files import sha256_of_json
from pipeline.ledger import ClassicalRow
from pipeline.store import Artifact, Manifest, Store


def config_allows_code(config: RunConfig) -> bool:
    """Whether a config lets layers of the user's own file run code (`model.allow`)."""
    return isinstance(config.model, FileModelConfig) and bool(config.model.allow)


def allows_code(store: Store, manifest: Manifest) -> bool:
    """Whether the config that a model goes back to lets layers of the user's own file run code (`model.allow`).

    A manifest says what its key was computed from, and anybody who can write to the store can write a manifest; but
    nobody finds other parts for the same key. So the parts are held against the key, back to the stage `build`.

    Args:
        store: where its parents are.
        manifest: of an artifact whose key the run itself computed.

    Returns:
        False too where a manifest on the way is missing, or its parts are not those of its key.
    """
    if sha256_of_json(manifest.parts) != manifest.key:
        return False
    if manifest.stage == "build":
        return bool(manifest.parts["config"]["model"].get("allow"))
    parents = (store.manifest(*parent) for parent in forebears(manifest))
    return any(allows_code(store, parent) for parent in parents if parent is not None)


def forebears(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Yields (stage, key) of the models that an artifact was made from: neither rows nor trials.

    A store that has an artifact must have these too, and theirs, or `allows_code` cannot say what it allows.
    """
    inputs = manifest.parts["inputs"].values()
    return (parent for parent in manifest.parents if parent[1] in inputs and parent[0] != "ingest")


def refuse_planted_models(store: Store, artifact: Artifact) -> None:
    """Refuses an artifact one of whose models is not what a stage saves; see `refuse_planted_code`.

    Raises:
        StoreError: it would run code that the run's config does not allow.
    """
    for name in artifact.manifest.files:
        if name.endswith(".keras"):
            allow_code = allows_code(store, artifact.manifest)
            refuse_planted_code(artifact.folder / name, artifact.manifest.stage, allow_code=allow_code)


def refuse_planted_code(path: Path, stage: str, *, allow_code: bool) -> None:
    """Refuses a model of the store that would run code as Keras loads it, or keep Keras at it for ever.

    Its manifest fits its bytes, but whoever can write to the store can write a manifest too. A `.keras` file names what
    is imported and called; Keras's own safe mode sees to byte code alone.

    Args:
        path: a `.keras` file.
        stage: stage that is said to have made it.
        allow_code: whether it may bring byte code (Lambda layers) along.

    Raises:
        StoreError: it would, or is not what a stage saves.
    """
    from pipeline.own_model.foreign_code import foreign_code
    from pipeline.own_model.formats import read_architecture
    from pipeline.own_model.wiring import check_wiring

    try:
        configs = read_architecture(path).configs
        found = foreign_code(configs)
        check_wiring(configs)
    except ConfigError as error:
        told = str(error).partition(", got ")[2].partition(". ")[0]  # its advice is for a file of the user's own
        raise StoreError(
            f"store.{stage}: expected {path} to be a model that Penjing saved, got {told}. Who may write there? "
            f"`--force {stage}` makes it again."
        ) from error
    refused = [each for each in found if not (allow_code and each.allowable)]
    if refused:
        raise StoreError(
            f"store.{stage}: expected {path} to be a model of Keras's own layers, got {refused[0].what} in layer "
            f"'{refused[0].layer}'. Nothing of it was run. Who may write there? Take a work directory of your own."
        )


def load_role(store: Store, role: str, artifact: Artifact) -> Any:
    """Opens an artifact as the typed object that its role stands for."""
    folder: Path = artifact.folder
    if role == "dataset":
        from data.dataset import Dataset

        return Dataset.open(folder)
    if role == "fitted":
        from pipeline.classical_artifacts import SavedClassical

        return SavedClassical.open(folder)
    if role == "baselines":
        from pipeline.classical_artifacts import Baselines

        return Baselines(folder, tuple(row for row in artifact.manifest.ledger if isinstance(row, ClassicalRow)))
    from pipeline.artifacts import SavedModel, Variants

    return (
        Variants(folder, artifact.manifest.details["chosen"])
        if role == "variants"
        else SavedModel.open(folder, artifact.manifest.stage, allow_code=allows_code(store, artifact.manifest))
    )
