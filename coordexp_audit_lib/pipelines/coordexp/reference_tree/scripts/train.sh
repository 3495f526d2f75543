#!/usr/bin/env bash
# Starts the training program on one config. Settings come from the environment: config=... gpus=... bash scripts/train.sh
set -euo pipefail

HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
ROOT="$(cd "${HERE}/.." && pwd)"
CONFIG="${config:?name a config}"
IFS=',' read -r -a DEVICES <<< "${gpus:-0}"

declare -a RUN=()
RUN=(
  torchrun
  --nproc_per_node="${#DEVICES[@]}"
  -m src.sft
  --config "${ROOT}/${CONFIG}"
)
if [[ "${debug:-false}" == "true" ]]; then
  RUN+=(--debug)
fi

cd "${ROOT}"
"${RUN[@]}"
