#!/bin/sh
# A worksheet on stdin, one problem a line; id, status and answer as columns, what is open at the end.
#   printf 'In triangle ABC, AB = AC, angle A = 50. Find angle B.\n' | examples/geo_pipeline.sh
set -eu
python3 -c 'import json, sys
for number, line in enumerate(sys.stdin, 1):
    print(json.dumps({"id": str(number), "text": line.strip()}))' |
    qr solve-geo - --json |
    python3 -c 'import json, sys
rows = [json.loads(line) for line in sys.stdin]
for r in rows:
    print(r["id"], r["status"], r.get("pretty") or r.get("value") or r.get("proof") or "-", sep="\t")
print("open:", ", ".join(r["id"] for r in rows if r["status"] not in ("verified",)) or "none")'
