#!/usr/bin/env bash
# Train some networks alike and compare them: parameters, FLOPs, latency, last and best accuracy with
# its interval, difference to the plain network.
#     compare_modules.sh OUT RECIPE SEEDS MODULE ...
# The result is a table of tab-separated values; without "--json |" below it is one for people.
set -euo pipefail
out=${1:-runs} recipe=${2:-shapes} seeds=${3:-0,1,2}
shift $(($# < 3 ? $# : 3))
[ $# -gt 0 ] || set -- none se lsas

for module in "$@"; do
  qr train attention --recipe "$recipe" --module "$module" --seeds "$seeds" --out "$out" --quiet
done |
  xargs qr eval attention --baseline "$1" --json |
  python3 -c '
import json, sys
print("module", "params", "MFLOPs", "ms", "last", "low", "high", "best", "delta", "shown", sep="\t")
for record in map(json.loads, sys.stdin):
    if record["event"] == "compare":
        flops = record["flops"] / 1e6
        row = "{group}\t{parameters}\t{mflops:.2f}\t{latency_ms:.2f}\t{last_top1:.4f}\t"
        row += "{last_low}\t{last_high}\t{best_top1}\t{delta}\t{delta_shown}"
        print(row.format(mflops=flops, **record))
'
