"""The types that the columns of several pieces, or files, of a table have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any


def first_fitting(found: Sequence[Any], fits: Callable[[Any], bool]) -> Any:
    """Returns the first type, in Arrow's order of trying, that the values of all pieces of a column have.

    Args:
        found: the types of single pieces, or of single files.
        fits: whether the values of all of them are of a type.
    """
    import pyarrow

    kinds = list(dict.fromkeys(kind for kind in found if not pyarrow.types.is_null(kind)))
    if len(kinds) < 2:
        return kinds[0] if kinds else found[0]
    if set(kinds) == {pyarrow.int64(), pyarrow.float64()}:
        return pyarrow.float64()
    order = [pyarrow.int64(), pyarrow.bool_(), pyarrow.date32(), pyarrow.time32("s")]
    order += [pyarrow.timestamp("s"), pyarrow.timestamp("ns"), pyarrow.float64()]
    for kind in order[max(map(order.index, kinds)) :] if all(kind in order for kind in kinds) else ():
        if fits(kind):
            return kind
    return pyarrow.string()


def common_schema(schemas: Iterable[Any]) -> Any:
    """Returns the schema whose columns hold the values of all of these.

    Null becomes any type, whole numbers become floating ones beside these, times become text beside text.

    Raises:
        pyarrow.ArrowInvalid: two types of one column have none in common.
    """
    import pyarrow

    known = list(schemas)
    texts = {field.name for schema in known for field in schema if pyarrow.types.is_string(field.type)}
    plain = []
    for schema in known:
        fields = [
            field.with_type(pyarrow.string())
            if field.name in texts and pyarrow.types.is_timestamp(field.type)
            else field
            for field in schema
        ]
        plain.append(pyarrow.schema(fields))
    return pyarrow.unify_schemas(plain, promote_options="permissive")
