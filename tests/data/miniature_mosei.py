"""miniature_mosei.py FILE.pkl [PROTOCOL]: the layout of CMU-MOSEI's pickle in small, unaligned: a
negative sample has other features than a positive one, and audio has infinities."""

import pickle
import sys

import numpy as np

generator = np.random.default_rng(0)
data = {}
for split, count in (("train", 40), ("valid", 12), ("test", 12)):
    scores = np.linspace(-3, 3, count).round(1).astype(np.float32)
    scores[count // 2] = 0

    def features(steps, width):
        values = generator.normal(size=(count, steps, width)).astype(np.float32)
        return values + np.where(scores < 0, -1, 1).astype(np.float32)[:, None, None]

    audio = features(6, 5).astype(np.float64)
    audio[0, 0, 0] = -np.inf
    audio[1, 2, 3] = np.nan
    data[split] = {
        "vision": features(6, 4),
        "text": features(3, 7),
        "audio": audio,
        "labels": scores[:, None, None],
        "id": np.array([[f"{split}{i // 2}", f"{i}.5", f"{i + 1}.5"] for i in range(count)]),
    }
with open(sys.argv[1], "wb") as file:
    pickle.dump(data, file, protocol=int(sys.argv[2]) if len(sys.argv) > 2 else 4)
