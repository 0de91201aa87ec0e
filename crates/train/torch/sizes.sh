#!/bin/bash
# Trains the default model with towers of three sizes on a graphics card, packages and measures each: accuracy on real
# ground against size. The text tower is that of the package it starts from. Every stage resumes.
#
#   crates/train/torch/sizes.sh DATA RUNS [SCALE]
#
# SCALE multiplies all numbers of steps (default 1: about an hour a size on one large card; 0.001 tries the script).
set -euo pipefail
data=$1 runs=$2 scale=${3:-1}
mmovseg=${MMOVSEG:-mmovseg} python=${PYTHON:-python} batch=${BATCH:-64}
here=$(cd "$(dirname "$0")" && pwd)
package=$here/../../../models/nano

steps() { awk -v n="$1" -v s="$scale" 'BEGIN { n = int(n * s); print (n < 2 ? 2 : n) }'; }

# torch STAGE STEPS RATE RUN SEED
torch() {
    "$python" "$here/train.py" "$1" --run "$4" --data "$data" --steps "$(steps "$2")" --batch "$batch" \
        --learning-rate "$3" --seed "$5" --mmovseg "$mmovseg"
}

# Channels, blocks: today's towers, twice and four times their work.
for size in "96 5" "128 6" "160 7"; do
    read -r width layers <<< "$size"
    run=$runs/w$width-l$layers
    [ -e "$run/start" ] || "$mmovseg" train start --from "$package" --run "$run" --width "$width" --layers "$layers"
    torch optical 12000 1e-3 "$run" 1
    torch align 6000 5e-4 "$run" 2
    torch segment 12000 1e-3 "$run" 3
    "$mmovseg" train package --run "$run" --out "$run/package"
    "$mmovseg" train calibrate --model "$run/package" --data "$data"
    "$mmovseg" report --model "$run/package" --data "$data" --tiles 60 --out "$run/report.md" --json "$run/report.json"
done
