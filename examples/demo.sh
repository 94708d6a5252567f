#!/usr/bin/env bash
# Encode one Kodak picture at three qualities, decode it, and print what each costs and keeps.
# Usage: examples/demo.sh [FOLDER]    COTAM and PYTHON (with NumPy and Pillow) name the programs to use.
set -euo pipefail
cd "$(dirname "$0")/.."

cotam=${COTAM:-cotam}
python=${PYTHON:-python3}
folder=${1:-demo}
picture=examples/kodim23.png

mkdir -p "$folder"
for quality in 1 3 5; do
    coded=$folder/kodim23-q$quality.ctm
    decoded=$folder/kodim23-q$quality.png
    rm -f "$coded" "$decoded"
    "$cotam" encode "$picture" -o "$coded" --quality "$quality"
    "$cotam" decode "$coded" -o "$decoded"
    for file in "$coded" "$decoded"; do
        test -s "$file" || { echo "demo: $file is missing or empty" >&2; exit 1; }
    done
done
"$cotam" info "$folder/kodim23-q3.ctm"

"$python" - "$picture" "$folder"/kodim23-q*.ctm <<'PYTHON'
import os, sys
import numpy as np
from PIL import Image

picture, *coded = sys.argv[1:]
original = np.asarray(Image.open(picture).convert("RGB"), np.float64)
pixels = original.shape[0] * original.shape[1]

print(f"\n{'file':26} {'bytes':>8} {'bits/pixel':>10} {'PSNR':>8}")
print(f"{picture:26} {os.path.getsize(picture):8} {8 * os.path.getsize(picture) / pixels:10.3f} {'':>8}")
for path in coded:
    decoded = np.asarray(Image.open(path[:-4] + ".png").convert("RGB"), np.float64)
    if decoded.shape != original.shape:
        sys.exit(f"demo: {path} decodes to {decoded.shape}, not {original.shape}")
    psnr = 10 * np.log10(255**2 / np.mean((decoded - original) ** 2))
    size = os.path.getsize(path)
    print(f"{path:26} {size:8} {8 * size / pixels:10.3f} {psnr:5.2f} dB")
PYTHON
echo
echo "The decoded pictures are in $folder/."
