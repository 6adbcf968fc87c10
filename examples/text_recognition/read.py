"""usage: read.py PICTURE [HOST:PORT]

Prints the lines of text in a picture, as the server of this example reads them over HTTP.

Needs: tritonclient[http]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import tritonclient.http as client


def main(picture: str, address: str = "127.0.0.1:8000") -> None:
    file = client.InferInput("file", [1], "BYTES")
    file.set_data_from_numpy(np.array([Path(picture).read_bytes()], dtype=object))
    with client.InferenceServerClient(address, network_timeout=60) as server:
        result = server.infer("read_text", [file])
    for text, score, box in zip(*(result.as_numpy(name) for name in ("text", "score", "box")), strict=True):
        print(f"{score:.2f}  {text.decode()}  at {box[0].tolist()}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])
