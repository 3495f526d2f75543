#!/usr/bin/env bash
# Starts a rollout server, then the training program on the other devices: server_gpus=... train_gpus=... config=...
set -euo pipefail

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
ROOT="$(cd "${HERE}/.." && pwd)"
CONFIG="${config:?name a config}"

SERVER=(swift rollout \
  --model "${model:?name a model}" \
  --port "${port:-8000}" \
  --infer_backend vllm)
env CUDA_VISIBLE_DEVICES="${server_gpus:-0}" "${SERVER[@]}" &
SERVER_PID=$!
trap 'kill "${SERVER_PID}"' EXIT

until curl -sf "http://127.0.0.1:${port:-8000}/health/" > /dev/null; do
  sleep 2
done

LEARNER="config=${CONFIG} gpus=${train_gpus:-1} bash ${ROOT}/scripts/train.sh"
eval "${LEARNER}"
