"""The `data` section of a config: one class a source, told apart by `source`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from data.contract import FrozenConfig

BUILTIN_IMAGE_SHAPES = {"digits": (8, 8, 1)}
"""Input shapes of the builtin data sets that are images."""

Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]


class SplitFields(FrozenConfig):
    """Fields that every source shares: how rows are divided."""

    validation_fraction: Fraction = 0.15
    """Fraction of all rows that decisions are made on (of the training rows, where the source ships a test split)."""

    test_fraction: Fraction = 0.15
    """Fraction of all rows kept for the last table; ignored by design where the source ships its own test split."""

    @model_validator(mode="after")
    def _leave_training_rows(self) -> SplitFields:
        if self.validation_fraction + self.test_fraction >= 1.0:
            raise ValueError(
                "expected validation_fraction + test_fraction below 1, got "
                f"{self.validation_fraction} + {self.test_fraction}. Leave rows for training."
            )
        return self


class BuiltinData(SplitFields):
    """A real data set that ships inside scikit-learn: nothing is downloaded."""

    source: Literal["builtin"]
    """Kind of source."""

    name: Literal["digits", "iris", "wine", "breast_cancer", "diabetes"]
    """Which data set."""


class TableData(SplitFields):
    """A CSV, TSV or Parquet file of rows and named columns."""

    source: Literal["table"]
    """Kind of source."""

    path: str
    """The file; .csv, .tsv or .parquet (.csv and .tsv may end in .gz too). A .csv whose header has semicolons and no
    comma is separated by these, and its numbers may have decimal commas (1,5)."""

    target: str
    """Column to predict."""

    features: tuple[str, ...] | None = None
    """Columns to learn from; all but the target, the group and the dropped ones when left out."""

    drop: tuple[str, ...] = ()
    """Columns to leave out."""

    types: dict[str, Literal["numeric", "boolean", "categorical"]] = Field(default_factory=dict)
    """Columns whose recognised type is to be overruled."""

    group: str | None = None
    """Column whose equal values must stay in one split (a patient, a device)."""

    missing: Literal["impute", "drop_rows", "error"] = "impute"
    """Missing features: median and indicator, or a category of their own; or leave the rows out; or refuse."""

    missing_target: Literal["error", "drop_rows"] = "error"
    """Rows without a target: refuse them, or leave them out, whatever `missing` says of features."""

    max_categories: int = Field(default=32, ge=2, le=1024)
    """Most categories a column keeps; rarer ones share the slot of unseen values."""


class ImagesData(SplitFields):
    """A folder of PNG, JPEG or BMP files, one folder a class."""

    source: Literal["images"]
    """Kind of source."""

    path: str
    """The folder: class folders, or train/ (validation/) test/ folders that hold them."""

    size: tuple[Annotated[int, Field(ge=4, le=1024)], Annotated[int, Field(ge=4, le=1024)]] = (32, 32)
    """Height and width in pixels that every image is resized to, bilinearly; the aspect ratio is not kept. The
    orientation that EXIF records is applied first."""

    color: Literal["grey", "rgb"] = "grey"
    """Channels that are kept: `grey` is 0.299 red + 0.587 green + 0.114 blue; transparent parts show white."""

    skip_unreadable: bool = False
    """Leave unreadable images out, listed in the profile, instead of refusing the folder."""


class ArraysData(SplitFields):
    """NumPy arrays: one .npz, or a pair of .npy files. Never unpickled."""

    source: Literal["arrays"]
    """Kind of source."""

    path: str
    """The .npz file, or the folder that holds the .npy files."""

    x: str = "x"
    """Name of the inputs: a key of the .npz, or `<x>.npy`. Also `<x>_test` where there is a test split."""

    y: str = "y"
    """Name of the targets: a key of the .npz, or `<y>.npy`. Also `<y>_test` where there is a test split."""

    kind: Literal["auto", "image", "vector"] = "auto"
    """What a row is; `auto`: rows of two or three dimensions are images where 0 to 255 holds their values without
    loss (uint8, whole numbers of 0 to 255, booleans, multiples of 1/255), all other rows are vectors."""


class IdxData(SplitFields):
    """MNIST's IDX files, plain or .gz, with the test split they come with."""

    source: Literal["idx"]
    """Kind of source."""

    path: str
    """Folder with train-images-idx3-ubyte, train-labels-idx1-ubyte and their t10k counterparts."""

    class_names: tuple[str, ...] | None = None
    """Names of the classes in the order of their codes; the codes themselves when left out."""


DataConfig = Annotated[BuiltinData | TableData | ImagesData | ArraysData | IdxData, Field(discriminator="source")]


def known_input_shape(config: DataConfig) -> tuple[int, ...] | None:
    """Returns the shape of one example as far as the config tells it without opening the data.

    Returns:
        (height, width, channels) of images; `(-1,)` for vectors of a length still unknown; None
        where only the data can tell.
    """
    if isinstance(config, BuiltinData):
        return BUILTIN_IMAGE_SHAPES.get(config.name, (-1,))
    if isinstance(config, ImagesData):
        return (*config.size, 1 if config.color == "grey" else 3)
    if isinstance(config, TableData):
        return (-1,)
    return None
