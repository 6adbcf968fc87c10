from __future__ import annotations

import contextlib
import importlib.util
import itertools
from pathlib import Path

import pytest
from argosy.config import parse_text, read_file
from argosy.config.locations import Position, scan
from argosy.errors import ConfigError
from argosy.protos import ModelConfig
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

FILES = Path(__file__).parent / "files"
CORPUS = Path(__file__).resolve().parents[2] / "fuzz" / "corpus" / "pbtxt"


@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [
        (
            'name: "m"\n  max_batchsize: 3',
            "c:2:3: unknown field 'max_batchsize' in ModelConfig; did you mean 'max_batch_size'?",
            "max_batch_size: 3",
        ),
        (
            "input {\n  data_type: FP32 }",
            "c:2:14: unknown value 'FP32' of DataType; did you mean 'TYPE_FP32'?",
            "data_type: TYPE_FP32 }",
        ),
        (
            "dynamic_batching { preferred_size: 3 }",
            "c:1:20: unknown field 'preferred_size' in ModelDynamicBatching; did you mean 'preferred_batch_size'?",
            "dynamic_batching { preferred_batch_size: 3 }",
        ),
        (
            "optimization { graph { qq: 1 } }",
            "c:1:24: unknown field 'qq' in ModelOptimizationPolicy.Graph; known are level",
            "",
        ),
        ("max_batch_size: 99999999999", "c:1:17: Value out of range: 99999999999", ""),
        ("input { " * 80, "c:1:511: messages are nested deeper than 64 levels", ""),
    ],
)
def test_names_the_place_and_the_nearest_known_name(text, message, fix):
    with pytest.raises(ConfigError) as error:
        parse_text(text, "c")
    assert (error.value.message, error.value.fix) == (message, fix)


@pytest.mark.parametrize("path", sorted(FILES.glob("*.pbtxt")), ids=lambda path: path.stem)
def test_configurations_as_users_write_them_parse_as_protobuf_parses_them(path):
    assert read_file(path).message == text_format.Parse(path.read_text(), ModelConfig())


@pytest.mark.parametrize("path", sorted(CORPUS.iterdir()), ids=lambda path: path.name)
def test_any_file_is_read_or_refused_with_its_name(path):
    if path.name == "valid":
        read_file(path)
        return
    with pytest.raises(ConfigError) as error:
        read_file(path)
    assert error.value.where.startswith(str(path))


@given(st.text(alphabet=st.sampled_from("nameiputdx:{}<>[],;#'\"\\ \n01.-"), max_size=60))
def test_no_text_raises_anything_but_a_config_error(text):
    with contextlib.suppress(ConfigError):
        parse_text(text, "c")


@given(
    st.lists(
        st.tuples(
            st.text(alphabet="abc_", min_size=1, max_size=6),
            st.lists(st.integers(-1, 9), min_size=1, max_size=4),
            st.integers(0, 3),
        ),
        max_size=5,
    )
)
def test_every_element_is_found_on_the_line_where_it_was_written(inputs):
    """The law: the scanner's path of an element leads to the line that was written for it."""
    lines: list[str] = []
    expected: dict[str, int] = {}
    for index, (name, dims, gap) in enumerate(inputs):
        lines += ["# a { comment ["] * gap + ["input {", f'  name: "{name}" # }}', "  dims: ["]
        for at, dim in enumerate(dims):
            lines.append(f"    {dim}{',' if at + 1 < len(dims) else ''}")
            expected[f"input[{index}].dims[{at}]"] = len(lines)
        lines += ["  ]", "}"]
    parsed = parse_text("\n".join(lines), "c")
    assert [list(tensor.dims) for tensor in parsed.message.input] == [dims for _, dims, _ in inputs]
    for path, line in expected.items():
        assert parsed.locations.where(path) == f"c:{line}:5"


def test_a_field_that_is_not_set_is_placed_at_the_nearest_enclosing_one():
    locations = scan("name: 'm'\ninput {\n name: 'x' }", "c")
    assert locations.where("input[0].dims[3]") == "c:2:1"
    assert locations.where("output[0]") == "c"
    assert locations.positions["input.name"] == Position(line=3, column=2)


def test_map_entries_are_found_by_their_key():
    text = "parameters { key: 'a' value { string_value: '1' } }\nparameters { key: 'b' value { } }"
    assert scan(text, "c").where('parameters["b"]') == "c:2:1"


def test_no_mutation_of_a_file_gets_anything_but_a_configuration_or_a_named_error():
    place = importlib.util.spec_from_file_location("fuzz_pbtxt", CORPUS.parents[1] / "fuzz_pbtxt.py")
    fuzz = importlib.util.module_from_spec(place)
    place.loader.exec_module(fuzz)
    for seed, text in itertools.islice(fuzz.rounds(fuzz.corpus(), 1), 200):
        try:
            fuzz.swallow(text)
        except Exception as error:
            pytest.fail(f"seed {seed}: {type(error).__name__}: {error}\n{text!r}")
