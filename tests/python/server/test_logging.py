from __future__ import annotations

import logging
from pathlib import Path

import argosy
import numpy as np
import pytest
from argosy.logs import Logs, LogSettings
from serving.waiting import until


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def refuse(server: argosy.Server) -> None:
    with pytest.raises(argosy.ArgosyError):
        server.infer("m", {"x": np.zeros((1, 2), np.float32)})


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "m" / "1").mkdir(parents=True)
    tensors = 'input { name: "x" data_type: TYPE_FP32 dims: 1 } output { name: "x" data_type: TYPE_FP32 dims: 1 }'
    (tmp_path / "m" / "config.pbtxt").write_text(f'backend: "identity" max_batch_size: 4 {tensors}')
    return tmp_path


def test_the_lines_of_a_server_survive_the_end_of_others(repository: Path) -> None:
    logs, kept = Logs(LogSettings(verbose_level=1)), Kept()
    logging.getLogger("argosy").addHandler(kept)
    try:
        with argosy.Server(repository, logs=logs) as server:
            for _ in range(20):
                with argosy.Server(repository, logs=logs):
                    refuse(server)
            kept.lines.clear()
            refuse(server)
            until(lambda: any("request refused" in line for line in kept.lines))
    finally:
        logging.getLogger("argosy").removeHandler(kept)


def test_verbose_lines_of_the_core_follow_the_setting_while_the_server_runs(repository: Path) -> None:
    logs, kept = Logs(LogSettings(verbose_level=1)), Kept()
    logging.getLogger("argosy").addHandler(kept)
    try:
        with argosy.Server(repository, logs=logs) as server:
            refuse(server)
            until(lambda: any("request refused" in line for line in kept.lines))
            logs.change(verbose_level=0)
            refuse(server)
    finally:
        logging.getLogger("argosy").removeHandler(kept)
    assert sum("request refused" in line for line in kept.lines) == 1, kept.lines
