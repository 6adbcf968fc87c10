"""Sequence-batching settings of one model: control tensors, strategy, implicit state.

Holds only what has been checked. Messages leave out the model, which the caller adds.
"""

from __future__ import annotations

from dataclasses import dataclass

from argosy.config.field_path import inside
from argosy.config.tensors import wire_name
from argosy.errors import ConfigError
from argosy.protos import Message

_KINDS = ("CONTROL_SEQUENCE_START", "CONTROL_SEQUENCE_READY", "CONTROL_SEQUENCE_END", "CONTROL_SEQUENCE_CORRID")
_PAIRS = ("int32_false_true", "fp32_false_true", "bool_false_true")
_PAIR_TYPES = {"int32_false_true": "INT32", "fp32_false_true": "FP32", "bool_false_true": "BOOL"}
_ID_TYPES = ("UINT64", "INT64", "UINT32", "INT32", "BYTES")


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One control tensor: `kind` "start", "ready", "end" or "corrid"; the pair is empty for corrid."""

    name: str
    kind: str
    dtype: str
    false_true: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StateTensor:
    """One implicit state; `dims` without the batch dimension."""

    input_name: str
    output_name: str
    dtype: str
    dims: tuple[int, ...]
    initial_file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceBatching:
    """How requests of one sequence are kept together. `strategy` is "direct" or "oldest"."""

    strategy: str
    max_idle_us: int
    controls: tuple[Control, ...] = ()
    states: tuple[StateTensor, ...] = ()
    max_queue_delay_us: int = 0
    minimum_slot_utilization: float = 0.0
    max_candidate_sequences: int = 0
    preferred_rows: tuple[int, ...] = ()
    preserve_ordering: bool = False
    iterative: bool = False


def sequence_from(message: Message, max_batch_rows: int) -> SequenceBatching:
    """A ModelSequenceBatching message -> SequenceBatching. Raises ConfigError with a path below the message."""
    strategy = message.WhichOneof("strategy_choice") or "direct"
    utilization = float(message.direct.minimum_slot_utilization)
    if not 0.0 <= utilization <= 1.0:
        raise ConfigError(
            "direct.minimum_slot_utilization",
            "sequence batching minimum slot utilization must be in range (0.0, 1.0]",
            fix="minimum_slot_utilization: 1.0",
        )
    for index, rows in enumerate(message.oldest.preferred_batch_size):
        where = f"oldest.preferred_batch_size[{index}]"
        if rows <= 0:
            raise ConfigError(where, "sequence batching preferred batch size must be positive")
        if rows > max_batch_rows:
            raise ConfigError(where, "sequence batching preferred batch size must be <= max batch size")
    chosen = message.oldest if strategy == "oldest" else message.direct
    return SequenceBatching(
        strategy=strategy,
        max_idle_us=message.max_sequence_idle_microseconds,
        controls=_controls(message),
        states=tuple(_state(message, index) for index in range(len(message.state))),
        max_queue_delay_us=chosen.max_queue_delay_microseconds,
        minimum_slot_utilization=utilization,
        max_candidate_sequences=message.oldest.max_candidate_sequences,
        preferred_rows=tuple(message.oldest.preferred_batch_size),
        preserve_ordering=message.oldest.preserve_ordering,
        iterative=message.iterative_sequence,
    )


def _controls(message: Message) -> tuple[Control, ...]:
    found: list[Control] = []
    for at, tensor in enumerate(message.control_input):
        if not tensor.name:
            raise ConfigError(
                f"control_input[{at}]", "sequence batching control tensor must have a name", fix='name: "START"'
            )
        if any(control.name == tensor.name for control in found):
            raise ConfigError(
                f"control_input[{at}].name",
                f"sequence batching control tensor '{tensor.name}' is specified multiple times",
            )
        for number, control in enumerate(tensor.control):
            with inside(f"control_input[{at}].control[{number}]"):
                made = _control(tensor.name, control)
                if any(other.kind == made.kind for other in found):
                    raise ConfigError(
                        "kind", f"sequence batching specifies multiple {_KINDS[control.kind]} tensors", fix="(keep one)"
                    )
            found.append(made)
    return tuple(found)


def _control(name: str, message: Message) -> Control:
    kind = _KINDS[message.kind]
    short = kind.removeprefix("CONTROL_SEQUENCE_").lower()
    given = [pair for pair in _PAIRS if len(getattr(message, pair))]
    choices = "'int32_false_true', 'fp32_false_true' or 'bool_false_true'"
    if short == "corrid":
        if given:
            raise ConfigError(given[0], f"sequence batching must not specify either {choices} for {kind}")
        dtype = wire_name(message.data_type)
        if dtype not in _ID_TYPES:
            raise ConfigError(
                "data_type",
                f"unexpected data type for control {kind}, got {dtype or 'none'}. Allowed data types are TYPE_UINT64, "
                "TYPE_INT64, TYPE_UINT32, TYPE_INT32 and TYPE_STRING",
                fix="data_type: TYPE_UINT64",
            )
        return Control(name=name, kind=short, dtype=dtype)
    if len(given) > 1:
        both = " and ".join(f"'{pair}'" for pair in given)
        raise ConfigError(given[1], f"sequence batching specifies both {both} for {kind}", fix=f"{given[0]}: [ 0, 1 ]")
    if not given:
        raise ConfigError(
            "", f"sequence batching must specify either {choices} for {kind}", fix="int32_false_true: [ 0, 1 ]"
        )
    pair = tuple(float(value) for value in getattr(message, given[0]))
    if len(pair) != 2:
        raise ConfigError(
            given[0],
            f"sequence batching control '{given[0]}' must have exactly 2 entries for {kind}, got {len(pair)}",
            fix=f"{given[0]}: [ {'false, true' if given[0].startswith('bool') else '0, 1'} ]",
        )
    return Control(name=name, kind=short, dtype=_PAIR_TYPES[given[0]], false_true=pair)


def _state(message: Message, index: int) -> StateTensor:
    state = message.state[index]
    with inside(f"state[{index}]"):
        who = f"state with input name '{state.input_name}'"
        if not state.input_name or not state.output_name:
            raise ConfigError("", "sequence batching state must specify 'input_name' and 'output_name'")
        if not wire_name(state.data_type):
            raise ConfigError("data_type", f"{who} must specify 'data_type'")
        if len(state.initial_state) > 1:
            raise ConfigError(
                "initial_state[1]", f"{who} can have at most one 'initial_state', got {len(state.initial_state)}"
            )
        for initial in state.initial_state:
            _check_initial(state, initial)
        files = [initial.data_file for initial in state.initial_state]
        return StateTensor(
            input_name=state.input_name,
            output_name=state.output_name,
            dtype=wire_name(state.data_type),
            dims=tuple(state.dims),
            initial_file=files[0] if files else "",
        )


def _check_initial(state: Message, initial: Message) -> None:
    who = f"'initial_state' field for state input name '{state.input_name}'"
    with inside("initial_state[0]"):
        if not initial.name:
            raise ConfigError("", f"{who} must specify 'name'", fix='name: "initial"')
        if initial.data_type != state.data_type:
            raise ConfigError(
                "data_type",
                f"{who} has data type '{wire_name(initial.data_type)}', the state has '{wire_name(state.data_type)}'",
            )
        if any(dim < 0 for dim in initial.dims):
            raise ConfigError("dims", f"{who} contains variable dimensions.")
        fits = len(initial.dims) == len(state.dims) and all(
            want in (-1, got) for want, got in zip(state.dims, initial.dims, strict=True)
        )
        if not fits:
            raise ConfigError("dims", f"{who} has dims {list(initial.dims)}, the state has {list(state.dims)}")
