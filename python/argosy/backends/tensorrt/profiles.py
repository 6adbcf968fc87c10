"""Optimization profiles as values: the ranges of input shapes that an engine was made for.

Pure decisions: which profile a batch runs on, which profile a model is built with.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from argosy.errors import InvalidArgument

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Shapes of one input, batch dimension included; `optimum` is what kernels are chosen for."""

    minimum: Shape
    optimum: Shape
    maximum: Shape

    def __post_init__(self) -> None:
        if not len(self.minimum) == len(self.optimum) == len(self.maximum):
            raise InvalidArgument(f"profile shapes {self} differ in rank")
        if any(
            not 0 < low <= best <= high
            for low, best, high in zip(self.minimum, self.optimum, self.maximum, strict=True)
        ):
            raise InvalidArgument(f"profile shapes {self}: expected 0 < min <= opt <= max in every dimension")

    def __contains__(self, shape: object) -> bool:
        return (
            isinstance(shape, tuple)
            and len(shape) == len(self.minimum)
            and all(low <= dim <= high for low, dim, high in zip(self.minimum, shape, self.maximum, strict=True))
        )

    def __str__(self) -> str:
        return f"{list(self.minimum)}..{list(self.maximum)}"


Profile: TypeAlias = Mapping[str, Range]


def choose(profiles: Sequence[Profile], shapes: Mapping[str, Shape], allowed: Sequence[int] = ()) -> int:
    """The profile for these input shapes: of those that contain them the smallest, then the first.

    `allowed`: indices the instance group names, all when empty. Raises InvalidArgument naming the input that
    fits nowhere.
    """
    indices = [at for at in (allowed or range(len(profiles))) if at < len(profiles)]
    fitting = [at for at in indices if all(shapes[name] in wanted for name, wanted in profiles[at].items())]
    if fitting:
        return min(fitting, key=lambda at: (_volume(profiles[at]), at))
    for name, shape in shapes.items():
        ranges = [profiles[at][name] for at in indices if name in profiles[at]]
        if ranges and not any(shape in wanted for wanted in ranges):
            listed = ", ".join(map(str, ranges))
            raise InvalidArgument(f"input '{name}': shape {list(shape)} is outside the engine's profiles ({listed})")
    raise InvalidArgument(
        f"input shapes { ({name: list(shape) for name, shape in shapes.items()}) } fit no single profile of the engine"
    )


def to_build(
    dims: Mapping[str, Shape],
    max_rows: int,
    explicit: Mapping[str, Mapping[str, Shape]],
    flat: Collection[str] = (),
) -> Profile:
    """The profile of an ONNX model: rows from 1 to `max_rows`, other dimensions as they are or as `explicit` says.

    `dims`: complete, -1 where dynamic. `explicit`: "min", "opt", "max" -> input -> shape. `flat`: inputs whose first
    dimension is not the batch: ragged ones, and batch inputs. Raises InvalidArgument naming an input whose dynamic
    dimensions nobody has bounded.
    """
    made: dict[str, Range] = {}
    for name, shape in dims.items():
        given = [explicit.get(key, {}).get(name) for key in ("min", "opt", "max")]
        low, best, high = given
        if low is not None and best is not None and high is not None:
            made[name] = Range(minimum=low, optimum=best, maximum=high)
            continue
        if any(given):
            raise InvalidArgument(f"input '{name}': a profile needs all of min, opt and max shapes")
        batched = max_rows > 0 and name not in flat
        rest = shape[1:] if batched else shape
        if -1 in rest:
            example = "x".join(str(dim if dim > 0 else 64) for dim in shape) if name in flat else "1x3x224x224"
            raise InvalidArgument(
                f"input '{name}' has dynamic dimensions {list(shape)} besides the batch; bound them with "
                f"the parameters trt_profile_min_shapes, trt_profile_opt_shapes and trt_profile_max_shapes, e.g. "
                f"'{name}:{example}'"
            )
        leading = (max_rows,) if batched else ()
        top = (*leading, *rest)
        made[name] = Range(minimum=(1, *rest) if batched else top, optimum=top, maximum=top)
    return made


def parse_shapes(text: str, where: str) -> dict[str, Shape]:
    """ "x:1x3x224x224,y:1x4" -> shapes by input. Raises InvalidArgument naming the parameter."""
    found: dict[str, Shape] = {}
    for part in filter(None, text.replace(" ", "").split(",")):
        name, _, dims = part.rpartition(":")
        if not name or not all(dim.isdecimal() for dim in dims.split("x")):
            raise InvalidArgument(f"parameter '{where}': expected name:1x2x3[,name:...], got '{part}'")
        found[name] = tuple(int(dim) for dim in dims.split("x"))
    return found


def max_rows(profiles: Sequence[Profile]) -> int:
    """The largest batch that some profile has for every input; 0 without inputs."""
    return max(
        (min((one.maximum[0] for one in profile.values() if one.maximum), default=0) for profile in profiles), default=0
    )


def _volume(profile: Profile) -> int:
    return sum(math.prod(wanted.maximum) for wanted in profile.values())
