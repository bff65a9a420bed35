#!/bin/sh
# How far can the dial go before keyword prompts suffer? Prints eta, keywords and sentences in %.
# usage: eta_dial.sh ADAPTER SUITE ETA,ETA,...
${QR:-qr} eval generate --adapter "$1" --suite "$2" --sweep-eta "$3" --judges digit-cnn,tint \
    --json 2>/dev/null | python3 -c '
import json, sys
share = {}
for line in sys.stdin:
    record = json.loads(line)
    if record["event"] == "eval" and record["judge"] == "both":
        share[record["condition"], record["eta"]] = record["accuracy"]
print("eta\tkeywords\tsentences")
for eta in sorted({eta for _, eta in share}):
    keywords = share.get(("keyword+adapter", eta), share["keyword", 0.0])
    sentences = share.get(("adapter", eta), share["base", 0.0])
    print(f"{eta:g}\t{100 * keywords:.1f}\t{100 * sentences:.1f}")'
