#!/usr/bin/env bash
# miniature.sh LAYOUT FOLDER: the published layout of a data set with real files, of three classes with
# a tone and a picture each. LAYOUT: kinetics-sounds, vggsound, vggsound-mp4, ave, ave-mp4, ucf101,
# ucf101-avi, food101, folders.
set -euo pipefail
layout=$1
folder=$2
clips=10 # of each class in train

made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
tone=300
for class in 0 1 2; do
  tone=$((tone + 400))
  mkdir "$made/$class"
  picture="testsrc2=size=48x40:rate=5:duration=3,hue=h=$((class * 120))"
  sound="sine=frequency=$tone:sample_rate=16000:duration=3"
  ffmpeg -loglevel error -f lavfi -i "$picture" -f lavfi -i "$sound" \
    -map 0 -map 1 -c:v libx264 -pix_fmt yuv420p -c:a aac "$made/$class.mp4" \
    -map 0 -c:v mpeg4 -q:v 3 "$made/$class.avi" -map 1 "$made/$class.wav" \
    -map 0 -vf fps=1 -start_number 0 -q:v 3 "$made/$class/%05d.jpg"
done

# put FILE PLACE: a copy at PLACE in the data set.
put() {
  mkdir -p "$folder/$(dirname "$2")"
  cp -r "$made/$1" "$folder/$2"
}

kinetics_sounds() { # a clip of two frames, one without sound
  local classes=(blowing_nose tap_dancing singing)
  for class in 0 1 2; do
    for ((clip = 0; clip < clips; ++clip)); do
      put $class.wav "audio/train/${classes[class]}/c$clip.wav"
      put $class "visual/train_img/Image-01-FPS/${classes[class]}/c$clip"
      if ((clip < 3)); then
        put $class.wav "audio/test/${classes[class]}/t$clip.wav"
        put $class "visual/val_img/Image-01-FPS/${classes[class]}/t$clip"
      fi
    done
  done
  put 0.wav audio/train/blowing_nose/two.wav
  put 0 visual/train_img/Image-01-FPS/blowing_nose/two
  rm "$folder/visual/train_img/Image-01-FPS/blowing_nose/two/00002.jpg"
  put 0 visual/train_img/Image-01-FPS/blowing_nose/silent
}

# vggsound PLACE: PLACE puts the clip of a class into a part of the data set. One is listed alone.
vggsound() {
  local classes=("playing harp" '"cat, purring"' "zebra braying")
  mkdir -p "$folder"
  for class in 0 1 2; do
    for ((clip = 0; clip < clips + 3; ++clip)); do
      local part=train
      ((clip < clips)) || part="test"
      echo "-$class-_$clip,$((clip * 10)),${classes[class]},$part" >> "$folder/vggsound.csv"
      "$1" $class "$(printf -- '-%d-_%d_%06d' $class $clip $((clip * 10)))" $part
    done
  done
  echo "gone,0,playing harp,train" >> "$folder/vggsound.csv"
}
vggsound_frames() {
  put "$1.wav" "audio/$3-audios/$3-set/$2.wav"
  put "$1" "video/$3-set-img/Image-01-FPS/$2.mp4"
}
vggsound_video() { put "$1.mp4" "video/$2.mp4"; }

# ave PLACE, as vggsound. One clip is in train and in test.
ave() {
  local classes=("Church bell" "Female speech, woman speaking" "Mandolin")
  mkdir -p "$folder"
  for class in 0 1 2; do
    for ((clip = 0; clip < clips + 5; ++clip)); do
      local list=train
      ((clip < clips)) || list="val"
      ((clip < clips + 2)) || list="test"
      echo "${classes[class]}&-$class-_$clip&good&0&10" >> "$folder/${list}Set.txt"
      "$1" $class "-$class-_$clip"
    done
  done
  echo "Mandolin&-0-_$((clips + 2))&good&2&5" >> "$folder/trainSet.txt"
}
ave_frames() {
  put "$1.wav" "Audios/$2.wav"
  put "$1" "Image-01-FPS-SE/$2"
}
ave_video() { put "$1.mp4" "AVE/$2.mp4"; }

# ucf101 PLACE, with the published lists beside it. One class has two spellings, as published.
ucf101() {
  local classes=(Archery HandStandPushups YoYo)
  local flow=(Archery HandstandPushups YoYo)
  mkdir -p "$folder"
  for class in 0 1 2; do
    mkdir "$made/flow$class"
    ffmpeg -loglevel error -f lavfi -i "color=gray:size=48x40:rate=1:duration=3" \
      -vf "geq=lum=40+80*$class+X/2:cb=128:cr=128" "$made/flow$class/frame%06d.jpg"
    for ((clip = 0; clip < clips + 3; ++clip)); do
      local list=testlist01
      ((clip < 3)) || list=trainlist01
      local id
      id=$(printf 'g%02d_c01' $((clip + 1)))
      echo "${flow[class]}/v_${classes[class]}_$id.avi $((class + 1))" >> "$folder/$list.txt"
      "$1" $class "${flow[class]}" "${classes[class]}" "$id"
      put flow$class "tvl1_flow/u/v_${flow[class]}_$id"
      put flow$class "tvl1_flow/v/v_${flow[class]}_$id"
    done
  done
}
ucf101_frames() { put "$1" "jpegs_256/v_$2_$4"; }
ucf101_video() { put "$1.avi" "UCF-101/$2/v_$3_$4.avi"; }

food101() { # a title without its image, an image without a title
  local classes=(apple_pie miso_soup pho)
  local titles=("Apple Pie with a crust" "Miso soup, \"\"the quick one\"\"" "RT Phở #noodles http://a.b/c")
  mkdir -p "$folder/texts"
  for class in 0 1 2; do
    for ((clip = 0; clip < clips + 3; ++clip)); do
      local split=train
      ((clip < clips)) || split=test
      local name="${classes[class]}_$clip"
      echo "$name.jpg,\"${titles[class]}\",${classes[class]}" >> "$folder/texts/${split}_titles.csv"
      put $class/00000.jpg "images/$split/${classes[class]}/$name.jpg"
    done
  done
  echo "pho_50.jpg,gone,pho" >> "$folder/texts/train_titles.csv"
  put 0/00000.jpg images/train/pho/pho_99.jpg
}

folders() {
  for class in 0 1 2; do
    for ((clip = 0; clip < clips + 5; ++clip)); do
      local split=train
      ((clip < clips)) || split="val"
      ((clip < clips + 2)) || split="test"
      put $class.wav "audio/$split/class $class/$clip.wav"
      put $class.avi "visual/$split/class $class/$clip.avi"
    done
  done
}

case $layout in
  kinetics-sounds) kinetics_sounds ;;
  vggsound) vggsound vggsound_frames ;;
  vggsound-mp4) vggsound vggsound_video ;;
  ave) ave ave_frames ;;
  ave-mp4) ave ave_video ;;
  ucf101) ucf101 ucf101_frames ;;
  ucf101-avi) ucf101 ucf101_video ;;
  food101) food101 ;;
  folders) folders ;;
  *) echo "miniature.sh: no layout $layout" >&2; exit 2 ;;
esac
