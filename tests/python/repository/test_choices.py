from __future__ import annotations

import pytest
from argosy.config.version_policy import VersionPolicy
from argosy.errors import InvalidArgument
from argosy.repository.layout import ModelDirectory, Scan, Stamps, scan, version_number
from argosy.repository.poll import Actions, actions
from argosy.repository.versions import Selection, select
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("1", 1),
        ("0", 0),
        ("12", 12),
        ("01", None),
        ("00", None),
        ("abc", None),
        ("1abc", 1),
        ("-3", -3),
        ("9" * 30, None),
    ],
)
def test_a_directory_name_is_a_version_or_is_not(name, number):
    assert version_number(name) == number


def test_directories_that_are_no_versions_are_left_out(tmp_path):
    for name in ("1", "01", "10", "2", "warmup", "notes"):
        (tmp_path / "m" / name).mkdir(parents=True)
    (tmp_path / "file.txt").write_text("")
    found = scan([str(tmp_path)])
    assert list(found.models["m"].versions) == [1, 2, 10]


@pytest.mark.parametrize(
    ("policy", "chosen", "missing"),
    [
        (VersionPolicy(latest=1), (10,), ()),
        (VersionPolicy(latest=2), (2, 10), ()),
        (VersionPolicy(latest=9), (1, 2, 10), ()),
        (VersionPolicy(), (1, 2, 10), ()),
        (VersionPolicy(specific=(10, 1, 7)), (1, 10), (7,)),
    ],
)
def test_the_policy_picks(policy, chosen, missing):
    assert select(policy, {10, 1, 2}, "m") == Selection(chosen=chosen, missing=missing)


@pytest.mark.parametrize(("policy", "present"), [(VersionPolicy(specific=(7,)), {1}), (VersionPolicy(), set())])
def test_a_policy_that_picks_nothing_is_refused(policy, present):
    with pytest.raises(InvalidArgument) as error:
        select(policy, present, "m")
    assert error.value.message == "at least one version must be available under the version policy of model 'm'"


def directory(tmp_path, name: str, stamp: int) -> ModelDirectory:
    return ModelDirectory(
        name=name, path=tmp_path / name, root=str(tmp_path), stamps=Stamps(others=stamp, others_and_self=stamp)
    )


names = st.dictionaries(st.sampled_from("abcde"), st.integers(0, 3))


@given(seen=names, now=names)
def test_actions_make_the_seen_into_the_scanned(seen, now):
    """The law: after the actions exactly the scanned models were tried, and only newer ones again."""
    from pathlib import Path

    root = Path("/r")
    old = {name: directory(root, name, stamp) for name, stamp in seen.items()}
    todo = actions(old, Scan(models={name: directory(root, name, stamp) for name, stamp in now.items()}))
    assert (set(old) | set(todo.load)) - set(todo.unload) == set(now)
    assert set(todo.reload) == {name for name in now if name in seen and now[name] > seen[name]}
    assert actions(old, Scan(models=old)) == Actions()
