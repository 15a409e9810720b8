"""write_pickles.py FOLDER: what Python itself writes, for pickle_test.cpp."""

import collections
import os
import pickle
import sys
import types

folder = sys.argv[1]


def write(name, value, protocol, pickler=pickle.Pickler):
    with open(os.path.join(folder, name), "wb") as file:
        pickler(file, protocol=protocol).dump(value)


class Storage:
    pass


class Tensors(pickle.Pickler):
    def persistent_id(self, value):
        return ("storage", "FloatStorage", "0", "cpu", 6) if isinstance(value, Storage) else None


class Names(pickle.Pickler):
    def persistent_id(self, value):
        return "name" if isinstance(value, Storage) else None


def rebuild(*arguments):
    pass


class Tensor:
    def __reduce__(self):
        return rebuild, (Storage(), 0, (2, 3), (3, 1), False, collections.OrderedDict())


class New:
    def __getnewargs__(self):
        return (1,)


class Evil:
    def __reduce__(self):
        return os.system, (f"touch {folder}/ran",)


torch = types.ModuleType("torch._utils")
torch._rebuild_tensor_v2 = rebuild
rebuild.__module__, rebuild.__qualname__, rebuild.__name__ = (
    "torch._utils", "_rebuild_tensor_v2", "_rebuild_tensor_v2")
sys.modules["torch"] = types.ModuleType("torch")
sys.modules["torch._utils"] = torch

shared = ["shared"]
plain = {
    "none": None,
    "truth": [True, False],
    "integers": [0, 1, 255, 256, 65535, 65536, -1, -2 ** 31, 2 ** 31, 10 ** 18, -2 ** 63,
                 2 ** 63 - 1],
    "numbers": (0.5, -1e300, float("inf")),
    "texts": ["", "a\\b\nc\r\0", "\u00e9\u20ac\U0001f600", "x" * 300],
    "nested": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [[]], {}, {1: {2: 3}}),
    "shared": [shared, shared],
    "many": list(range(2500)),
    "dict": {i: None for i in range(1200)},
}
weights = collections.OrderedDict({"fc.weight": Tensor(), "fc.bias": Tensor()})
weights._metadata = collections.OrderedDict({"": {"version": 1}})
cycle = []
cycle.append({"again": (cycle,)})
ring = {}
ring["ring"] = ring
pair = ([],)
pair[0].append(pair)
deep = None
for _ in range(98):
    deep = [deep]

for p in range(6):
    write(f"plain{p}.pkl", plain, p)
    write(f"weights{p}.pkl", weights, p, Tensors if p else Names)
    write(f"evil{p}.pkl", Evil(), p)
    write(f"cycle{p}.pkl", cycle, p)
    write(f"ring{p}.pkl", ring, p)
    write(f"pair{p}.pkl", pair, p)
    write(f"deep{p}.pkl", deep, p)
    write(f"deeper{p}.pkl", [[deep]], p)
for p in range(2, 6):
    write(f"new{p}.pkl", New(), p)
for p in range(3, 6):
    write(f"bytes{p}.pkl", [b"", b"\0\xff", b"x" * 300, bytearray(b"ab") if p == 5 else b"ab"], p)
