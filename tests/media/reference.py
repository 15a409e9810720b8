"""Independent references for the tests of media: NumPy, SciPy and Pillow.

reference.py KIND INPUT OUTPUT.npy ARGUMENT…
"""

import sys
import unicodedata

import numpy as np
import scipy.signal
from PIL import Image, ImageOps


def spectrogram(signal, n_fft, hop, pad, offset):
    n_fft, hop, offset = int(n_fft), int(hop), float(offset)
    padded = np.pad(signal.astype(np.float64), n_fft // 2,
                    mode="reflect" if pad == "reflect" else "constant")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    frames = [padded[start:start + n_fft] * window
              for start in range(0, len(padded) - n_fft + 1, hop)]
    return np.log(np.abs(np.fft.rfft(frames, axis=1)).T + offset)


def fbank(signal, rate, mels):
    rate, mels = int(rate), int(mels)
    signal = signal.astype(np.float64)
    signal = signal - signal.mean()
    size, shift = rate * 25 // 1000, rate * 10 // 1000
    n_fft = 1 << (size - 1).bit_length()
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / (size - 1))

    def mel(hertz):
        return 1127 * np.log(1 + hertz / 700)

    edges = np.linspace(mel(20), mel(rate / 2), mels + 2)
    places = mel(np.arange(n_fft // 2) * rate / n_fft)
    rows = []
    for start in range(0, len(signal) - size + 1, shift):
        frame = signal[start:start + size]
        frame = frame - frame.mean()
        emphasised = frame.copy()
        emphasised[1:] -= 0.97 * frame[:-1]
        emphasised[0] -= 0.97 * frame[0]
        power = np.abs(np.fft.rfft(emphasised * hann, n_fft))[:n_fft // 2] ** 2
        row = []
        for low, centre, high in zip(edges, edges[1:], edges[2:]):
            up = (places - low) / (centre - low)
            down = (high - places) / (high - centre)
            row.append(np.sum(np.maximum(0, np.minimum(up, down)) * power))
        rows.append(np.log(np.maximum(row, np.finfo(np.float32).eps)))
    return np.array(rows)


def resampled(signal, count):
    """By Fourier's method, exact for a signal that repeats."""
    return scipy.signal.resample(signal.astype(np.float64), int(count))


def resized(path, size):
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    return np.asarray(image.resize((int(size), int(size)), Image.BILINEAR))


def opened(path, mode):
    return np.asarray(ImageOps.exif_transpose(Image.open(path)).convert(mode))


def saved(path, name, *options):
    """Writes the pixels of an array [H, W, 3] to the image `name`; gives them back."""
    pixels = np.load(path).astype(np.uint8)
    settings = {key: int(value) if value.isdigit() else value
                for key, value in (option.split("=") for option in options)}
    if "orientation" in settings:
        exif = Image.Exif()
        exif[0x0112] = settings.pop("orientation")
        settings["exif"] = exif
    if "lossless" in settings:
        settings["lossless"] = bool(settings["lossless"])
    Image.fromarray(pixels).save(name, **settings)
    return pixels


def word_pieces(path, vocabulary, lower):
    """Ids of each line of a text, by the description of BERT's tokenizer; -1 ends a line."""
    with open(vocabulary, encoding="utf-8") as lines:
        ids = {line.rstrip("\n"): number for number, line in enumerate(lines)}

    def alone(letter):
        code = ord(letter)
        ascii_sign = 33 <= code <= 126 and not letter.isalnum()
        chinese = any(low <= code <= high for low, high in (
            (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F),
            (0x2B740, 0x2B81F), (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)))
        return ascii_sign or chinese or unicodedata.category(letter).startswith("P")

    def pieces(word):
        found, start = [], 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = ("##" if start else "") + word[start:end]
                if piece in ids:
                    break
            else:
                return [ids["[UNK]"]]
            found.append(ids[piece])
            start = end
        return found if len(word) <= 100 else [ids["[UNK]"]]

    result = []
    for line in open(path, encoding="utf-8").read().split("\n"):
        if lower == "lower":
            line = unicodedata.normalize("NFD", line.lower())
            line = "".join(letter for letter in line if unicodedata.category(letter) != "Mn")
        line = "".join(letter for letter in line if letter == "\t" or (
            letter not in "\0\ufffd" and unicodedata.category(letter) not in ("Cc", "Cf")))
        line = "".join(f" {letter} " if alone(letter) else letter for letter in line)
        for word in line.split():
            result += pieces(word)
        result.append(-1)
    return np.array(result)


kind, source, output, *arguments = sys.argv[1:]
if kind in ("spectrogram", "fbank", "resampled"):
    source = np.load(source)
result = {"spectrogram": spectrogram, "fbank": fbank, "resampled": resampled, "resized": resized, "opened": opened,
          "saved": saved, "word_pieces": word_pieces}[kind](source, *arguments)
np.save(output, np.ascontiguousarray(result, dtype=np.float32))
