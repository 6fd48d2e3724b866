"""The `data` section of a config: one class a source, told apart by `source`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from data.contract import FrozenConfig

BUILTIN_SHAPES = {"digits": (8, 8, 1), "gapminder": (6, 2)}
"""Input shapes of the builtin data sets that are images or series."""

Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]

LabelUse = Literal["needed", "optional", "unread"]
"""What a run does with the labels of a source: cannot do without; reads them where they are; leaves them."""


class UnlabeledTable(FrozenConfig):
    """A CSV, TSV, Parquet or JSON lines file that has the columns `data` learns from; others are not looked at."""

    source: Literal["table"]
    """Kind of source."""

    path: str
    """The file. Missing features are treated as `data.missing` says."""


class UnlabeledImages(FrozenConfig):
    """A folder of PNG, JPEG or BMP files, at any depth; they are resized and colored as those of `data`."""

    source: Literal["images"]
    """Kind of source."""

    path: str
    """The folder. Where train/ and test/ folders lie in it, only the images below train/ are taken."""

    skip_unreadable: bool = False
    """Leave unreadable images out, listed in the profile, instead of refusing the folder."""


class UnlabeledArrays(FrozenConfig):
    """A NumPy array of inputs, in the units of `data`: one .npz, or .npy files in a folder."""

    source: Literal["arrays"]
    """Kind of source."""

    path: str
    """The .npz file, or the folder that holds the .npy file."""

    x: str = "x"
    """Name of the inputs: a key of the .npz, or `<x>.npy`."""


class UnlabeledIdx(FrozenConfig):
    """MNIST's file of training images, plain or .gz."""

    source: Literal["idx"]
    """Kind of source."""

    path: str
    """Folder with train-images-idx3-ubyte."""


UnlabeledData = UnlabeledTable | UnlabeledImages | UnlabeledArrays | UnlabeledIdx


class SplitFields(FrozenConfig):
    """Fields that every source shares: how rows are divided, and which of them have labels."""

    validation_fraction: Fraction = 0.15
    """Fraction of all rows that decisions are made on (of the training rows, where the source ships a test split)."""

    test_fraction: Fraction = 0.15
    """Fraction of all rows kept for the last table; ignored by design where the source ships its own test split."""

    normal: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Task reconstruction: classes whose rows are normal. Training and validation hold normal rows alone; rows of all
    other classes are abnormal and lie in the test split alone. A window of a series is normal only if all its steps
    are. No label is read when left out."""

    num_labels: Annotated[int, Field(ge=1)] | None = None
    """Training rows that keep their labels, of each class its share; the others become rows without labels, which
    layer-wise pretraining of an unsupervised kind learns from. Other trainings learn from the few alone: the control
    of such an experiment. All when left out."""

    unlabeled: UnlabeledData | None = Field(default=None, discriminator="source")
    """More rows of the same kind, whose labels are missing or not looked at: layer-wise pretraining of an unsupervised
    kind learns from them too. None when left out."""

    @model_validator(mode="after")
    def _leave_training_rows(self) -> SplitFields:
        if self.validation_fraction + self.test_fraction >= 1.0:
            raise ValueError(
                "expected validation_fraction + test_fraction below 1, got "
                f"{self.validation_fraction} + {self.test_fraction}. Leave rows for training."
            )
        return self


class BuiltinData(SplitFields):
    """A real data set that ships inside scikit-learn, or inside Plotly (gapminder): nothing is downloaded."""

    source: Literal["builtin"]
    """Kind of source."""

    name: Literal["digits", "iris", "wine", "breast_cancer", "diabetes", "gapminder"]
    """Which data set. `gapminder` is series: from life expectancy and gross domestic product per head of a country at
    six times, five years apart, its life expectancy five years later; no country is in two splits."""

    @property
    def predicts_numbers(self) -> bool:
        """Whether its targets are numbers, not classes."""
        return self.name in ("diabetes", "gapminder")


class TableData(SplitFields):
    """A CSV, TSV, Parquet or JSON lines file of rows and named columns, or a folder of such files."""

    source: Literal["table"]
    """Kind of source."""

    path: str
    """The file; .csv, .tsv, .parquet, .jsonl or .ndjson (all but .parquet may end in .gz too). A .csv whose header has
    semicolons and no comma is separated by these, and its numbers may have decimal commas (1,5). JSON lines have an
    object of column names and values in every line. Files of a folder are of one kind and have the same columns; they
    are read in the order of their names, as one table."""

    target: str | None = None
    """Column to predict; tasks reconstruction and clustering need none. Reconstruction looks at it with `normal`
    alone, clustering to compare its clusters with; it is never an input."""

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
    """The folder: class folders, or train/ (validation/) test/ folders that hold them. Tasks reconstruction and
    clustering take images that are not sorted into classes too, at any depth."""

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
    """Name of the targets: a key of the .npz, or `<y>.npy`. Also `<y>_test` where there is a test split. Tasks
    reconstruction and clustering need none."""

    kind: Literal["auto", "image", "vector"] = "auto"
    """What a row is; `auto`: rows of two or three dimensions are images where 0 to 255 holds their values without
    loss (uint8, whole numbers of 0 to 255, booleans, multiples of 1/255), all other rows are vectors."""


class IdxData(SplitFields):
    """MNIST's IDX files, plain or .gz, with the test split they come with."""

    source: Literal["idx"]
    """Kind of source."""

    path: str
    """Folder with train-images-idx3-ubyte, train-labels-idx1-ubyte and their t10k counterparts. Tasks reconstruction
    and clustering need no labels."""

    class_names: tuple[str, ...] | None = None
    """Names of the classes in the order of their codes; the codes themselves when left out."""


class SeriesData(SplitFields):
    """Recordings of one channel or more over time, cut into windows of equal length."""

    source: Literal["series"]
    """Kind of source."""

    path: str
    """A .csv, .tsv, .jsonl (each may end in .gz) or .parquet file with a row for each step, or a folder of such files,
    perhaps in train/ (validation/) test/ folders, and in one folder a class where no column holds the target."""

    window: int = Field(ge=2, le=65_536)
    """Steps that the model takes at once."""

    stride: int | None = Field(default=None, ge=1, le=65_536)
    """Steps from the start of one window to that of the next; those of a window when left out: windows then do not
    overlap."""

    channels: tuple[str, ...] | None = None
    """Columns to learn from, in this order; all columns of numbers but time, target and group when left out."""

    target: str | None = None
    """Column to predict, a value for each step; the folder that a file lies in is its class when left out. Tasks
    reconstruction and clustering need neither."""

    horizon: int = Field(default=0, ge=0, le=65_536)
    """Steps from the last one of a window to the one whose target it has: 0 tells what is, more foretells."""

    window_label: Literal["last", "majority"] = "last"
    """Class of a window with steps of several classes: that of its last step, as a device meets them; or the most
    frequent, the last step's where some are equally frequent. Not with `normal`, which looks at all steps."""

    mixed_windows: Literal["keep", "drop"] = "keep"
    """Windows with steps of several classes: keep them, by `window_label`, or leave them out of all splits. With
    `normal`: windows with normal and abnormal steps, which are abnormal where they are kept."""

    time: str | None = None
    """Column of numbers or dates that must rise from step to step; it is checked, and no channel."""

    group: str | None = None
    """Column that tells recordings apart (a subject, a device): its rows of one value are a series of their own, and
    stay in one split."""

    split_by: Literal["group", "time"] | None = None
    """`group`: whole groups, or whole files without a group, go to a split; `time`: each series is cut into blocks of
    training, validation and test, in this order, and windows on a border are left out. When left out: `group` where
    there is a group column or three files and more, else `time`."""

    missing: Literal["error", "interpolate"] = "error"
    """Missing cells of channels: refuse them, or draw a straight line between the values around them; before the first
    and after the last value of a series that value is repeated."""

    missing_target: Literal["error", "drop_windows"] = "error"
    """Windows whose target is missing: refuse them, or leave them out."""


DataConfig = Annotated[
    BuiltinData | TableData | ImagesData | ArraysData | IdxData | SeriesData, Field(discriminator="source")
]


def label_use(config: DataConfig, task: str) -> LabelUse:
    """Returns what a run does with the labels of its source."""
    if task in ("classification", "regression"):
        return "needed"
    if task == "reconstruction":
        return "unread" if config.normal is None else "needed"
    if isinstance(config, TableData):
        return "unread" if config.target is None else "needed"
    if isinstance(config, SeriesData) and config.target is not None:
        return "needed"
    if isinstance(config, ArraysData) and config.y != ArraysData.model_fields["y"].default:
        return "needed"
    return "needed" if isinstance(config, IdxData) and config.class_names is not None else "optional"


def known_input_shape(config: DataConfig) -> tuple[int, ...] | None:
    """Returns the shape of one example as far as the config tells it without opening the data.

    Returns:
        (height, width, channels) of images; (steps, channels) of series, -1 for channels that are not named; `(-1,)`
        for vectors of a length still unknown; None where only the data can tell.
    """
    if isinstance(config, BuiltinData):
        return BUILTIN_SHAPES.get(config.name, (-1,))
    if isinstance(config, ImagesData):
        return (*config.size, 1 if config.color == "grey" else 3)
    if isinstance(config, TableData):
        return (-1,)
    if isinstance(config, SeriesData):
        return (config.window, -1 if config.channels is None else len(config.channels))
    return None
