#!/usr/bin/env bash
# miniature_cremad.sh FOLDER [ACTORS]: CREMA-D's published layout with real WAV and FLV files: each
# emotion has a tone and a picture of its own, each actor the same clips.
set -euo pipefail
folder=$1
actors=${2:-30}

made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
mkdir -p "$folder/AudioWAV" "$folder/VideoFlash"
tone=300
for emotion in NEU HAP SAD FEA DIS ANG; do
  tone=$((tone + 200))
  ffmpeg -loglevel error -f lavfi -i "sine=frequency=$tone:duration=2.3:sample_rate=16000" -ac 1 \
    "$made/$emotion.wav"
  ffmpeg -loglevel error -f lavfi -i "testsrc2=size=480x360:rate=30:duration=2.3" \
    -f lavfi -i "sine=frequency=$tone:duration=2.3:sample_rate=44100" -vf "hue=h=$tone" -c:v flv \
    -c:a libmp3lame "$made/$emotion.flv"
  for ((actor = 1001; actor < 1001 + actors; ++actor)); do
    cp "$made/$emotion.wav" "$folder/AudioWAV/${actor}_DFA_${emotion}_XX.wav"
    cp "$made/$emotion.flv" "$folder/VideoFlash/${actor}_DFA_${emotion}_XX.flv"
  done
done
