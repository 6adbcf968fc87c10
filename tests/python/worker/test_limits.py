"""What has no form on the rings is refused by name, and what is only said is said somehow."""

from __future__ import annotations

from typing import Any

import pytest
from argosy.errors import InvalidArgument
from argosy.worker import wire
from argosy.worker.host import Failure, InferCall, InferResponse

MEMORY: Any = wire.Memory(None, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"timeout_us": -5}, "timeout -5 us"),
        ({"timeout_us": 2**64}, f"timeout {2**64} us"),
        ({"correlation_id": -1}, "correlation id -1"),
        ({"priority": -1}, "priority -1"),
    ],
)
def test_a_call_with_a_number_that_does_not_fit_names_it(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidArgument, match=f"call of model 'other': .*{said}"):
        wire.put_call(bytearray(), InferCall("other", (), **fields), -1, "", MEMORY, [])


@pytest.mark.parametrize("parameters", [{"p": "\ud800"}, {"\ud800": 1}])
def test_a_parameter_without_a_utf8_form_is_named(parameters: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match="expected text that has a UTF-8 form"):
        wire.put_response(bytearray(), InferResponse((), parameters), MEMORY, [])


def test_a_reason_is_told_in_whatever_form_it_has() -> None:
    message = bytearray()
    wire.put_response(message, InferResponse(failure=Failure("internal", "half \ud800 of a pair")), MEMORY, [])
    assert message.endswith(rb"half \ud800 of a pair")
