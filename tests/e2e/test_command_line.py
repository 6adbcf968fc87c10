"""`argosy` as a program: exit codes, usage errors, `check`, and what a start prints."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from serving import Ended, add_model, identity_config, serve
from serving.models import onnx_scale

statement = pytest.mark.statement


def argosy(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "argosy", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@statement("T334")
@pytest.mark.parametrize("words", [["serve", ".", "--no-such-flag"], ["serve", ".", "--no-such-flag=1"], [], ["nope"]])
def test_unknown_words_print_usage_and_fail(words: list[str]) -> None:
    done = argosy(*words)
    assert done.returncode == 2 and "usage" in done.stderr


@statement("T335")
@pytest.mark.parametrize(
    "flag", ["--allow-http=maybe", "--http-port=x", "--model-control-mode=sometimes", "--log-format=xml"]
)
def test_bad_values_name_flag_and_value(flag: str) -> None:
    done = argosy("serve", ".", flag)
    name, _, value = flag.partition("=")
    assert done.returncode == 2 and name in done.stderr and value in done.stderr


@statement("T335")
@pytest.mark.parametrize("text", ["true", "1", "on", "TRUE", "On"])
def test_booleans_have_three_spellings(tmp_path: Path, text: str) -> None:
    from argosy.cli.values import boolean

    assert boolean(text) is True


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ([], "--model-repository must be specified"),
        (
            ["{repo}", "--http-port=7000", "--grpc-port=7000"],
            "HTTP requests and GRPC requests at the same address and port",
        ),
        (["{repo}", "--load-model=m"], "'--model-control-mode=explicit'"),
        (["{repo}", "--http-restricted-api=nonsense:k=v"], "unknown restricted api 'nonsense'"),
        (
            ["{repo}", "--http-restricted-api=health:k=v", "--http-restricted-api=health:k=w"],
            "'health' can not be specified in multiple config groups",
        ),
        (["{repo}", "--cache-config=local,size=1"], "--cache-config"),
        (["{repo}", "--trace-config=rate=1"], "--trace-config"),
        (["{repo}", "--http-server-cert=x"], "needs both a certificate and a key"),
        (["/no/such/repository"], "/no/such/repository"),
    ],
)
@statement("T336", "T332", "T282", "T155")
def test_contradictions_refuse_the_start_and_say_why(tmp_path: Path, flags: list[str], text: str) -> None:
    add_model(tmp_path, "m", identity_config())
    done = argosy("serve", *(flag.format(repo=tmp_path) for flag in flags))
    assert done.returncode == 1, done.stderr
    assert text in done.stderr and "Traceback" not in done.stderr


@statement("T339")
def test_flags_without_effect_are_accepted_and_said_aloud(tmp_path: Path) -> None:
    add_model(tmp_path, "m", identity_config())
    flags = [
        "--grpc-infer-allocation-pool-size=4",
        "--buffer-manager-thread-count=1",
        "--strict-model-config=false",
    ]
    with serve(tmp_path, *flags) as running:
        for flag in flags[:2]:
            assert flag.partition("=")[0] in running.log


@statement("T340")
@pytest.mark.parametrize("mode", ["none", "NONE", "Poll"])
def test_the_control_mode_has_any_case(mode: str) -> None:
    from argosy.cli.flags import parse

    assert parse(["x", f"--model-control-mode={mode}"]).options.control_mode.value == mode.lower()


@statement("T001")
def test_endpoints_can_be_left_out(tmp_path: Path) -> None:
    add_model(tmp_path, "m", identity_config())
    with serve(tmp_path, "--allow-grpc=false", "--allow-metrics=off") as running:
        assert set(running.ports) == {"http"}


def test_a_start_prints_models_and_calls_that_work_when_pasted(tmp_path: Path) -> None:
    add_model(tmp_path, "doubler", onnx_model=onnx_scale(2.0))
    with serve(tmp_path) as running:
        # The rest of what was printed came in the same write.
        text = running.read_welcome()
        shell = next(line.strip() for line in text.splitlines() if line.strip().startswith("curl"))
        done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=60)
        assert '"outputs":[{"name":"y"' in done.stdout, done.stderr
        lines = text.splitlines()
        start = next(number for number, line in enumerate(lines) if line.startswith("Try it (Python"))
        script = "\n".join(line[2:] for line in lines[start + 1 :] if line.startswith("  "))
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=60
        )
        assert "[[0. 0. 0. 0.]]" in done.stdout, done.stderr
        assert re.search(r"^doubler +1 +onnxruntime", text, re.MULTILINE)


def test_version_and_help() -> None:
    from argosy.version import __version__

    assert argosy("--version").stdout.strip() == f"argosy {__version__}"
    help_text = argosy("serve", "--help").stdout
    for flag in ("--model-repository", "--http-port", "--grpc-use-ssl", "--exit-timeout-secs"):
        assert flag in help_text
    assert "default: 8000" in help_text


@statement("T212", "T214", "T215")
def test_check_names_file_line_and_the_cure(tmp_path: Path) -> None:
    add_model(tmp_path, "good", identity_config())
    done = argosy("check", tmp_path)
    assert (done.returncode, done.stdout) == (0, "no problems found\n")
    add_model(tmp_path, "bad", "max_batch_size: 4\nno_such_field: 1\n")
    add_model(tmp_path, "renamed", identity_config(more='name: "other"\n'))
    done = argosy("check", tmp_path)
    assert done.returncode == 1
    assert "bad/config.pbtxt:2" in done.stdout and "no_such_field" in done.stdout
    assert 'name: "renamed"' in done.stdout
    assert done.stdout.endswith("2 problems found\n")


def test_a_failed_start_leaves_one_line_and_no_traceback(tmp_path: Path) -> None:
    model = add_model(tmp_path, "bad", 'backend: "onnxruntime"\nmax_batch_size: 4\n')
    (model / "1" / "model.onnx").write_bytes(b"junk")
    with pytest.raises(Ended) as ended, serve(tmp_path):
        pass
    assert ended.value.code == 1
    assert "Traceback" not in ended.value.log
    assert "error: creating server" in ended.value.log
