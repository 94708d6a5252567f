#!/bin/sh
# A picture as .ctm to a chat completions API with nothing but cotam and curl:
#   curl.sh photo.jpg http://127.0.0.1:8787/v1 MODEL
set -eu
picture=$(cotam encode "$1" -o - --quality 3 | base64 | tr -d '\n')
curl --silent --show-error --fail-with-body "$2/chat/completions" \
    --header "Content-Type: application/json" \
    --header "Authorization: Bearer ${OPENAI_API_KEY:-none}" \
    --data-binary @- <<JSON
{"model": "$3", "messages": [{"role": "user", "content": [
  {"type": "text", "text": "What is in this picture?"},
  {"type": "image_url", "image_url": {"url": "data:image/x-ctm;base64,$picture"}}]}]}
JSON
