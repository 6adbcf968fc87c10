#!/usr/bin/env bash
# The HTTP protocol with curl. Start first: argosy serve model_repository
set -euo pipefail
server=${1:-http://127.0.0.1:8000}

echo "# is it ready?"
curl -sf -o /dev/null "$server/v2/health/ready" && echo yes

echo "# what is served, and what does a model take?"
curl -sf -X POST "$server/v2/repository/index"; echo
curl -sf "$server/v2/models/digits"; echo

echo "# inference as JSON"
curl -sf "$server/v2/models/add_sub/infer" -d '{
  "id": "first",
  "inputs": [
    {"name": "INPUT0", "datatype": "FP32", "shape": [1, 16], "data": [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]},
    {"name": "INPUT1", "datatype": "FP32", "shape": [1, 16], "data": [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}
  ],
  "outputs": [{"name": "OUTPUT0"}]
}'; echo

echo "# the same tensors as raw bytes behind a JSON head"
head='{"inputs":[{"name":"INPUT0","datatype":"FP32","shape":[1,16],"parameters":{"binary_data_size":64}}]}'
{ printf '%s' "$head"; head -c 64 /dev/zero; } |
  curl -sf "$server/v2/models/identity/infer" -H "Inference-Header-Content-Length: ${#head}" --data-binary @-; echo

echo "# the three best classes, with labels"
pixels=$(printf '0.5,%.0s' {1..64})
curl -sf "$server/v2/models/digits/infer" -d '{
  "inputs": [{"name": "pixels", "datatype": "FP32", "shape": [1, 64], "data": ['"${pixels%,}"']}],
  "outputs": [{"name": "probabilities", "parameters": {"classification": 3}}]
}'; echo

echo "# what has been done so far"
curl -sf "$server/v2/models/add_sub/stats"; echo
