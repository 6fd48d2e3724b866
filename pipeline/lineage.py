"""Opens what a stage takes, as far as the keys of the artifacts vouch for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.files import sha256_of_json
from pipeline.ledger import ClassicalRow
from pipeline.store import Artifact, Manifest, Store


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
    inputs = manifest.parts["inputs"].values()
    parents = (store.manifest(stage, key) for stage, key in manifest.parents if key in inputs and stage != "ingest")
    return any(allows_code(store, parent) for parent in parents if parent is not None)


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
