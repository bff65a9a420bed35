#!/bin/sh
# Simulate a pair from a cube, fuse it with several methods, and rank them against the truth.
#     fuse_compare.sh CUBE RATIO SENSOR METHOD...
set -eu
cube=$1 ratio=$2 sensor=$3
shift 3
qr data hsi simulate --cube "$cube" --ratio "$ratio" --srf "$sensor" --snr 35,40 --out pair --quiet >/dev/null
for method; do
    printf '{"id": "%s", "hsi": "pair/hsi.npz", "msi": "pair/msi.npz", "out": "%s.npz", "method": "%s"}\n' \
        "$method" "$method" "$method"
done | qr fuse - --no-report --no-quicklook --quiet |
    while read -r fused; do
        qr eval fuse --reference pair/reference.npz --fused "$fused" --ratio "$ratio" --json
    done |
    python3 -c '
import json, sys
rows = sorted((json.loads(line) for line in sys.stdin), key=lambda row: -row["psnr_db"])
for row in rows:
    print(row["fused"], round(row["psnr_db"], 2), round(row["sam_deg"], 3), sep="\t")'
