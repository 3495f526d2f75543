#!/usr/bin/env bash
# Waits for the rollout server, then reads its world size. Read by the audit, never run.
set -euo pipefail
until curl --silent --fail "http://127.0.0.1:${SERVER_PORT}/health/" >/dev/null; do sleep 1; done
curl --silent --fail "http://127.0.0.1:${SERVER_PORT}/get_world_size/"
