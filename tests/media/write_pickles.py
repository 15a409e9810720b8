"""write_pickles.py FOLDER: arrays as NumPy pickles them by key, good<protocol>.pkl, with the shape and
the elements of each in <key>.txt; and arrays that are not right, bad.pkl."""

import os
import pickle
import sys

import numpy as np

folder = sys.argv[1]
values = np.arange(24).reshape(2, 3, 4) - 11.5
texts = np.array([["ab", "", "\u20ac\U0001f600"], ["d", "e f", "xyz"]])
good = {
    "f4": values.astype("<f4"),
    "f8": values,
    "f8 fortran": np.asfortranarray(values),
    "f4 big": values.astype(">f4"),
    "f4 big fortran": np.asfortranarray(values.astype(">f4")),
    "f2": values.astype("f2"),
    "i8": values.astype("i8"),
    "i4 big": values.astype(">i4"),
    "u1": np.array([0, 255], "u1"),
    "b1": np.array([True, False]),
    "part": values[:, ::2, 1:],
    "turned": values.transpose(2, 0, 1),
    "scalar": np.array(2.5),
    "empty": np.zeros((0, 3), "f4"),
    "one": np.zeros((1, 1), "f8"),
    "infinite": np.array([np.inf, -np.inf, np.nan, 1]),
    "U": texts,
    "U big": texts.astype(">U3"),
    "U fortran": np.asfortranarray(texts),
    "S": np.array([b"a", b"bcd", b"\xff\0e"]),
    "O": np.array([["a", "bc"], ["", "\u20ac"]], dtype=object),
    "O fortran": np.asfortranarray(np.array([["a", "bc", "d"], ["e", b"f", ""]], dtype=object)),
    "O bytes": np.array([b"", b"ab\xff"], dtype=object),
}
for key, array in good.items():
    items = array.reshape(-1).tolist() if array.dtype.kind in "USO" else [
        f"{value:.9g}" for value in array.astype("f4").reshape(-1)]
    with open(os.path.join(folder, key + ".txt"), "wb") as file:
        file.write(" ".join(map(str, array.shape)).encode() + b"\n")
        for item in items:
            file.write((item if isinstance(item, bytes) else item.encode()) + b"\n")
for protocol in range(6):
    with open(os.path.join(folder, f"good{protocol}.pkl"), "wb") as file:
        pickle.dump(good, file, protocol=protocol)


class Call:
    def __init__(self, *parts):
        self.parts = parts

    def __reduce__(self):
        return self.parts


def array(version=1, shape=(2,), dtype=np.dtype("f4"), fortran=False, data=b"12345678"):
    return Call(np.core.multiarray._reconstruct, (np.ndarray, (0,), b"b"),
                (version, shape, dtype, fortran, data))


def dtype(name, *state):
    return Call(np.dtype, (name, False, True), state) if state else Call(np.dtype, (name,))


buffer = np.core.numeric._frombuffer
bad = {
    "list": [1.0, 2.0],
    "other call": Call(np.ones, (3,)),
    "no state": Call(np.core.multiarray._reconstruct, (np.ndarray, (0,), b"b")),
    "version": array(version=2),
    "state": Call(np.core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), (1, (2,))),
    "short": array(data=b"1234567"),
    "long": array(data=b"123456789"),
    "negative": array(shape=(-1,)),
    "fraction": array(shape=(2.0,)),
    "no shape": array(shape=2),
    "huge": array(shape=(2 ** 40, 2 ** 40)),
    "claims": array(shape=(2 ** 40,)),
    "many": array(shape=(1,) * 33),
    "complex": array(dtype=np.dtype("c8"), shape=(1,)),
    "date": array(dtype=np.dtype("M8[s]"), shape=(1,)),
    "fields": array(dtype=np.dtype([("a", "f4"), ("b", "f4")]), shape=(1,)),
    "parts": array(dtype=dtype("f4", 3, "<", ("f4", (2,)), None, None, -1, -1, 0)),
    "no dtype": array(dtype="f4"),
    "order": array(dtype=dtype("f4", 3, "!", None, None, None, -1, -1, 0)),
    "nothing": array(dtype=dtype("U0"), data=b""),
    "wide": array(dtype=dtype("U9999999999")),
    "data": array(data=[1.0, 2.0]),
    "characters": array(data="12345678"),
    "objects": array(dtype=np.dtype("O"), data=["a"]),
    "object bytes": array(dtype=np.dtype("O")),
    "buffer": Call(buffer, (b"12345678", np.dtype("f4"), (2,))),
    "buffer order": Call(buffer, (b"12345678", np.dtype("f4"), (2,), "K")),
    "buffer short": Call(buffer, (b"123", np.dtype("f4"), (2,), "C")),
    "object": array(dtype=np.dtype("O"), data=["a", 1]),
    "code point": array(dtype=np.dtype("U1"), data=b"a\0\0\0\0\0\x11\0"),
}
with open(os.path.join(folder, "bad.pkl"), "wb") as file:
    pickle.dump(bad, file, protocol=4)
