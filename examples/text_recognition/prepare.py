"""Makes the repository of the example: the models of this folder, with the networks of an installed package.

    pip install 'argosy[onnx]' opencv-python-headless
    pip install --no-deps rapidocr_onnxruntime
    python examples/text_recognition/prepare.py /tmp/reading
    argosy serve /tmp/reading

The networks (PP-OCRv4, Apache-2.0) are copied out of the package rapidocr_onnxruntime,
which itself is not imported and may be removed afterwards.

Needs: onnxruntime, rapidocr_onnxruntime
"""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from pathlib import Path

import onnxruntime

PACKAGE = "rapidocr_onnxruntime"
NETWORKS = {"find_text": "det_infer.onnx", "turn_text": "cls_infer.onnx", "spell_text": "rec_infer.onnx"}


def prepare(repository: Path) -> None:
    """Writes the repository. Raises PackageNotFoundError, or LookupError when the package holds other files."""
    files = importlib.metadata.files(PACKAGE) or []
    shutil.copytree(Path(__file__).with_name("repository"), repository, dirs_exist_ok=True)
    for model, ending in NETWORKS.items():
        found = [file for file in files if str(file).endswith(ending)]
        if len(found) != 1:
            raise LookupError(f"package {PACKAGE}: expected one file *{ending}, found {len(found)}")
        version = repository / model / "1"
        version.mkdir(exist_ok=True)
        shutil.copyfile(str(found[0].locate()), version / "model.onnx")
    spelling = onnxruntime.InferenceSession(str(repository / "spell_text/1/model.onnx"))
    characters = spelling.get_modelmeta().custom_metadata_map["character"]
    (repository / "read_text/1/characters.txt").write_text("\n".join(characters.splitlines()), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} REPOSITORY")
    prepare(Path(sys.argv[1]))
