"""Groups of options, declared once for the commands of this program and for the nsys recipe.

A group is a dataclass whose fields are annotated with `typer.Option`, as in `shared_options`.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from enum import Enum
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

Group = TypeVar("Group")


def with_option_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with each parameter group expanded to its options; calls pass the group objects."""
    hints = get_type_hints(command, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint) and isinstance(hint, type)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name in groups:
            parameters += _field_parameters(groups[name])
        else:
            shown = _with_brackets(hints[name])
            parameters.append(parameter.replace(annotation=shown, kind=inspect.Parameter.KEYWORD_ONLY))

    @functools.wraps(command)
    def call(**arguments: Any) -> None:
        for name, group in groups.items():
            arguments[name] = group(**{field.name: arguments.pop(field.name) for field in dataclasses.fields(group)})
        command(**arguments)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call


def _field_parameters(group: type) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=_with_brackets(hints[field.name]),
        )
        for field in dataclasses.fields(group)
    ]


def _with_brackets(annotation: Any) -> Any:
    """Return an option's annotation with the square brackets in its help escaped: rich would read them as markup."""
    shape, *rest = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    if not rest or not rest[0].help:
        return annotation
    shown = copy.copy(rest[0])
    shown.help = shown.help.replace("[", "\\[")
    return Annotated[shape, shown]


def add_arguments(group: type, add: Callable[..., object]) -> None:
    """Declare the options of a group by calling `add`, a parser's `add_argument` or an equivalent function."""
    hints = get_type_hints(group, include_extras=True)
    for field in dataclasses.fields(group):
        shape, option = get_args(hints[field.name])
        values: dict[str, Any] = {"help": option.help.replace("%", "%%"), "dest": field.name}
        plain = next(part for part in (get_args(shape) or (shape,)) if part is not NoneType)
        if plain is bool:
            values["action"] = "store_true"
        else:
            repeated = get_origin(plain) is list
            kind = get_args(plain)[0] if repeated else plain
            values |= {"type": kind, "default": field.default, "metavar": option.metavar}
            if repeated:
                values["action"] = "append"
            if issubclass(kind, Enum):
                values |= {"choices": list(kind), "metavar": "{" + ",".join(choice.value for choice in kind) + "}"}
        add(option.default, *(option.param_decls or ()), **values)


def read_arguments(group: type[Group], given: object) -> Group:
    """Return the group object with the values of a parsed `argparse` namespace."""
    values: Mapping[str, Any] = vars(given)
    fields = dataclasses.fields(group)  # type: ignore[arg-type]
    return group(**{field.name: values[field.name] for field in fields})
