"""What tests that need a running server share: processes, repositories, plain requests."""

from serving.http import Answer, ask, infer_json
from serving.models import Tensor, add_model, identity_config
from serving.process import Ended, Server, serve

__all__ = ["Answer", "Ended", "Server", "Tensor", "add_model", "ask", "identity_config", "infer_json", "serve"]
