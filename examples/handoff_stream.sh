#!/bin/sh
# Which conversations need a human, and at which turn? Reads dialogues, prints one line each.
here=$(dirname "$0")
${QR:-qr} handoff "$here/dialogue.jsonl" 2>/dev/null | python3 -c '
import json, sys
for line in sys.stdin:
    found = json.loads(line)
    turn = found["first_transfer"]
    why = [] if turn is None else found["utterances"][turn]["reasons"]
    print(found["session_id"], "-" if turn is None else turn + 1, ",".join(why))'
