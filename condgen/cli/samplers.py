"""The sampler that a command line asks for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any, get_args, get_type_hints

from condgen import processes
from condgen.cli.errors import UserError, nearest
from condgen.models import GenerativeModel
from condgen.processes import DiffusionSampler


def choose_sampler(model: GenerativeModel, name: str | None, settings: dict[str, str], options: Iterable[str]) -> None:
    """Give the model another sampler, or other settings of its own.

    Settings that both samplers have stay as they were, unless they are given.

    Args:
        model: A loaded model.
        name: Class of `condgen.processes`; null for the model's own.
        settings: Values by name, as they stand on the command line.
        options: What the verb itself understands, to help with a mistyped name.

    Raises:
        UserError: If the model has no such choice, or refuses it.
    """
    kind = type(model).__name__
    if model.sampler is None:
        if name is not None:
            raise UserError(f"--sampler is for diffusion models; {kind} samples in one step")
        if settings:
            raise unknown(next(iter(settings)), options, f"{kind} has no sampler to set")
        return
    sampler = model.sampler if name is None else other_sampler(model, name)
    known = {field.name for field in fields(sampler)}
    for setting in settings:
        if setting not in known:
            names = [*options, *(f"--{field}" for field in known)]
            raise unknown(setting, names, f"{type(sampler).__name__} takes {', '.join(sorted(known))}")
    kinds = get_type_hints(type(sampler))
    try:
        values = {field: read_value(field, text, kinds[field]) for field, text in settings.items()}
        model.sampler = replace(sampler, **values)
    except ValueError as error:
        raise UserError(f"--sampler: {error}") from error


def diffusion_samplers() -> dict[str, Any]:
    """Return the samplers of diffusion models by name."""
    return {
        key: value
        for key, value in vars(processes).items()
        if isinstance(value, type) and issubclass(value, DiffusionSampler) and value is not DiffusionSampler
    }


def other_sampler(model: GenerativeModel, name: str) -> Any:
    """Return a diffusion sampler by its class, with the settings that it shares with the model's own."""
    classes = diffusion_samplers()
    if not isinstance(model.sampler, DiffusionSampler):
        raise UserError(f"--sampler is for diffusion models; {type(model).__name__} has only its own")
    cls = classes.get(name.removeprefix("condgen.processes."))
    if cls is None:
        raise UserError(f"no sampler {name!r}{nearest(name, classes)}; there are {', '.join(sorted(classes))}")
    shared = {field.name for field in fields(cls)} & {field.name for field in fields(model.sampler)}
    return cls(**{field: getattr(model.sampler, field) for field in shared})


def read_value(name: str, text: str, annotation: Any) -> Any:
    """Read a setting as a value of the type that it is annotated with; an option without a value is true."""
    kind, *others = get_args(annotation) or (annotation,)
    if others and "=" in text:
        return read_numbers(name, text)
    if kind is bool:
        if text.lower() in ("", "true", "false"):
            return text.lower() != "false"
        raise UserError(f"--{name} must be true or false, got {text!r}")
    try:
        return kind(text)
    except ValueError as error:
        raise UserError(f"--{name} must be {kind.__name__}, got {text!r}") from error


def read_numbers(name: str, text: str) -> dict[str, float]:
    """Read `text=3,source=1.5`."""
    numbers: dict[str, float] = {}
    for part in text.split(","):
        key, _, value = (word.strip() for word in part.partition("="))
        try:
            number = float(value)
        except ValueError as error:
            raise UserError(f"--{name} takes a number, or several as text=3,source=1.5, got {part!r}") from error
        if key in numbers:
            raise UserError(f"--{name} names {key!r} twice")
        numbers[key] = number
    return numbers


def unknown(name: str, options: Iterable[str], what: str) -> UserError:
    """Explain an option that is neither the verb's nor the sampler's."""
    owners = [key for key, cls in diffusion_samplers().items() if name in {field.name for field in fields(cls)}]
    if owners:
        return UserError(f"sample: --{name} is of the diffusion samplers {', '.join(sorted(owners))}; {what}")
    hint = nearest(f"--{name}", options)
    return UserError(f"sample: no option --{name}{hint}" + ("" if hint else f"; {what}"))
