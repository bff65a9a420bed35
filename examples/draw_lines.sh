#!/bin/sh
# A sentence a line on stdin; prints each picture's file beside its sentence, as it is drawn.
#   printf 'the legs of a spider, like snow\n' | examples/draw_lines.sh --steps 6
${QR:-qr} generate --prompts - --json "$@" 2>/dev/null | python3 -c '
import json, sys
for line in sys.stdin:
    record = json.loads(line)
    if record["event"] == "picture":
        print(record["image"], record["prompt"], sep="\t", flush=True)'
