#!/usr/bin/env bash
# Train three networks alike and print their test accuracy as a table of tab-separated values.
# The second argument makes it a short rehearsal: compare_modules.sh OUT smoke
set -euo pipefail
out=${1:-runs}
recipe=${2:-shapes}

for module in none se lsas; do
  qr train attention --recipe "$recipe" --module "$module" --out "$out" --quiet
done |
  xargs qr eval attention --json |
  python3 -c '
import json, sys
for line in sys.stdin:
    print("{module}\t{parameters}\t{top1:.4f}".format(**json.loads(line)))
'
