from __future__ import annotations

import logging

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


def test_verbose_lines_of_the_core_follow_the_setting_while_the_server_runs(tmp_path):
    (tmp_path / "m" / "1").mkdir(parents=True)
    tensors = 'input { name: "x" data_type: TYPE_FP32 dims: 1 } output { name: "x" data_type: TYPE_FP32 dims: 1 }'
    (tmp_path / "m" / "config.pbtxt").write_text(f'backend: "identity" max_batch_size: 4 {tensors}')
    logs, kept = Logs(LogSettings(verbose_level=1)), Kept()
    logging.getLogger("argosy").addHandler(kept)
    try:
        with argosy.Server(tmp_path, logs=logs) as server:
            refuse(server)
            until(lambda: any("request refused" in line for line in kept.lines))
            logs.change(verbose_level=0)
            refuse(server)
    finally:
        logging.getLogger("argosy").removeHandler(kept)
    assert sum("request refused" in line for line in kept.lines) == 1, kept.lines
