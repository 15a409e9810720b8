"""CREMA-D's preprocessing as a plain Python script does it: SciPy and Pillow, one process.

media_reference.py FILTER ROUNDS AUDIO_FOLDER FRAME_FOLDER: prints clips per second. FILTER says how sound is
resampled: "short", as scipy.signal.resample_poly does unless told otherwise, which lets through a tenth of what is
just above the band (-22 dB); "same", by a filter as long and as good as libsoxr's, which librosa and we use.
"""

import glob
import math
import os
import random
import sys
import time

import numpy as np
import scipy.fft
import scipy.io.wavfile
import scipy.signal
from PIL import Image

MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)
WINDOW = scipy.signal.get_window("hann", 512).astype(np.float32)
UP, DOWN = 441, 320
# Flat to 0.913 of the band, -120 dB from its end on, 99 samples to each side.
SAME = scipy.signal.firwin(2 * 99 * UP + 1, 0.9565 / UP, window=("kaiser", 12.26)).astype(np.float32)


def spectrogram(path):
    rate, samples = scipy.io.wavfile.read(path)
    signal = scipy.signal.resample_poly(samples.astype(np.float32) / 32768, UP, DOWN, window=FILTER)
    assert rate == 16000
    signal = np.clip(np.tile(signal, 3)[:3 * 22050], -1, 1)
    padded = np.pad(signal, 256, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 512)[::353] * WINDOW
    return np.log(np.abs(scipy.fft.rfft(frames, axis=1)).T + 1e-7)


def crop_of(width, height):
    for _ in range(10):
        area = width * height * random.uniform(0.08, 1)
        ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = random.randint(0, width - w), random.randint(0, height - h)
            return left, top, left + w, top + h
    return 0, 0, width, height


def frame(folder):
    image = Image.open(sorted(glob.glob(folder + "/*"))[0]).convert("RGB")
    image = image.resize((224, 224), Image.BILINEAR, box=crop_of(*image.size))
    if random.random() < 0.5:
        image = image.transpose(Image.FLIP_LEFT_RIGHT)
    pixels = np.asarray(image, dtype=np.float32) / 255
    return np.ascontiguousarray(((pixels - MEAN) / STD).transpose(2, 0, 1))


FILTER = SAME if sys.argv[1] == "same" else ("kaiser", 5.0)
rounds, audio, frames = int(sys.argv[2]), sys.argv[3], sys.argv[4]
clips = [name[:-4] for name in sorted(os.listdir(audio))]
start = time.perf_counter()
for _ in range(rounds):
    for clip in clips:
        assert spectrogram(f"{audio}/{clip}.wav").shape == (257, 188)
        assert frame(f"{frames}/{clip}").shape == (3, 224, 224)
print(rounds * len(clips) / (time.perf_counter() - start))
