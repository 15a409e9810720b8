"""write_torch_files.py FOLDER: files as PyTorch writes them, and bad ones, for torch_file_test.cpp.
Plain Python: classes of its own stand for those of torch."""

import collections
import os
import pickle
import struct
import sys
import types
import zipfile

folder = sys.argv[1]


def named(module, name, value):
    """`value` as the global `name` of `module`."""
    parts = module.split(".")
    for i in range(len(parts)):
        path = ".".join(parts[: i + 1])
        sys.modules.setdefault(path, types.ModuleType(path))
    value.__module__, value.__qualname__, value.__name__ = module, name, name
    setattr(sys.modules[module], name, value)
    return value


def function(module, name):
    return named(module, name, lambda *arguments: None)


REBUILD = function("torch._utils", "_rebuild_tensor_v2")
REBUILD_1 = function("torch._utils", "_rebuild_tensor")
PARAMETER = function("torch._utils", "_rebuild_parameter")
SIZE = function("torch", "Size")
ORDERED = collections.OrderedDict
TYPES = {
    name: named("torch", name + "Storage", type(name, (), {}))
    for name in ("Float", "Double", "Bool", "Long", "ComplexFloat")
}


class Call:
    def __init__(self, callee, *arguments, state=None):
        self.parts = (callee, arguments) if state is None else (callee, arguments, state)

    def __reduce__(self):
        return self.parts


class Storage:
    def __init__(self, data, type="Float", key="0", size=None, extra=()):
        self.data, self.key = data, key
        width = {"Float": 4, "Bool": 1, "ComplexFloat": 8}.get(type, 8)
        self.size = len(data) // width if size is None else size
        self.id = ("storage", TYPES[type], key, "cpu", self.size) + extra


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        return value.id if isinstance(value, Storage) else None


def floats(*values):
    return struct.pack(f"<{len(values)}f", *values)


def tensor(storage, sizes, strides, offset=0):
    return Call(REBUILD, storage, offset, sizes, strides, False, ORDERED())


def dumps(value, protocol=2):
    import io

    file = io.BytesIO()
    Pickler(file, protocol).dump(value)
    return file.getvalue()


def archive(name, value, storages, more=None, compression=zipfile.ZIP_STORED, program="data.pkl"):
    with zipfile.ZipFile(os.path.join(folder, name), "w", compression) as file:
        file.writestr(f"any/{program}", dumps(value))
        for storage in storages:
            file.writestr(f"any/data/{storage.key}", storage.data)
        for member, content in (more or {}).items():
            file.writestr(f"any/{member}", content)


def legacy(name, value, storages, protocol=2, system=None, counts=None):
    with open(os.path.join(folder, name), "wb") as file:
        file.write(dumps(0x1950A86A20F9469CFC6C) + dumps(1001))
        file.write(dumps({"little_endian": True} if system is None else system))
        file.write(dumps(value, protocol) + dumps([storage.key for storage in storages]))
        for i, storage in enumerate(storages):
            file.write(struct.pack("<q", counts[i] if counts else storage.size) + storage.data)


class Parameter:
    """As versions before 0.2 wrote it: without arguments, the tensor in the state."""

    def __reduce__(self):
        return named("torch.nn.parameter", "Parameter", lambda *a: None), (), self.state


six = Storage(floats(0, 1, 2, 3, 4, 5))
good = tensor(six, (2, 3), (3, 1))
archive("good.pth", {"w": good}, [six])
archive("order.pth", {"w": good}, [six], {"byteorder": "little", "version": "3\n"})
archive("module.pth", {"model": {"module._orig_mod.w": good}}, [six])
archive("one_module.pth", {"module.w": good, "v": good}, [six])

# As Python 2 and the first versions of PyTorch wrote them.
old = Parameter()
old.state = (Call(REBUILD_1, six, 0, Call(SIZE, (2, 3)), (3, 1)), None, None, True, False)
legacy("first.pth", Call(ORDERED, [["w", old], ["v", Call(PARAMETER, good, True, ORDERED())]]),
       [six])
legacy("unused.pth", {"state_dict": {"w": good}, "optimizer": Storage(b"\0" * 80, "Double", "7")},
       [Storage(b"\0" * 80, "Double", "7"), six])


def bad(name, sizes, strides, offset=0, storage=six):
    archive(name, {"w": tensor(storage, sizes, strides, offset)}, [storage])


class Evil:
    def __reduce__(self):
        return os.system, (f"touch {folder}/ran",)


archive("evil.pth", {"w": Evil()}, [])
archive("evil_root.pth", Evil(), [])
archive("evil_storage.pth", {"w": tensor(Evil(), (2, 3), (3, 1))}, [])
legacy("evil_legacy.pth", {"w": Evil()}, [])
archive("evil_beside.pth", {"state_dict": {"w": good}, "args": Evil()}, [six])
bad("rows.pth", (3, 3), (3, 1))
bad("offset.pth", (2, 3), (3, 1), 1)
bad("far.pth", (1,), (1,), 2**62)
bad("far_empty.pth", (0,), (1,), 2**62)
bad("huge.pth", (2**32, 2**32), (2**32, 1))
bad("huge_empty.pth", (2**32, 2**32, 0), (0, 0, 0))
bad("stride.pth", (2, 3), (2**62, 1))
bad("negative_size.pth", (-2, 3), (3, 1))
bad("negative_stride.pth", (2, 3), (-3, 1))
bad("negative_offset.pth", (2, 3), (3, 1), -1)
bad("dimensions.pth", (1,) * 33, (1,) * 33)
bad("strides.pth", (2, 3), (1,))
bad("sizes.pth", "ab", (1,))
bad("short.pth", (2, 3), (3, 1), storage=Storage(floats(0, 1, 2, 3), size=6))
bad("long.pth", (2, 3), (3, 1), storage=Storage(floats(*range(7)), size=6))
bad("absurd.pth", (2, 3), (3, 1), storage=Storage(six.data, size=2**61))
bad("more_absurd.pth", (2, 3), (3, 1), storage=Storage(six.data, size=2**63 - 1))
bad("minus.pth", (2, 3), (3, 1), storage=Storage(six.data, size=-6))
bad("complex.pth", (1,), (1,), storage=Storage(b"\0" * 8, "ComplexFloat"))
bad("truth.pth", (2,), (1,), storage=Storage(b"\1\2", "Bool"))
bad("key.pth", (2, 3), (3, 1), storage=Storage(six.data, key="../../x"))
bad("part.pth", (2, 3), (3, 1), storage=Storage(six.data, extra=(("1", 0, 6),)))
archive("no_storage.pth", {"w": good}, [])
archive("types.pth",
        {"w": good, "v": tensor(Storage(b"\0" * 24, "Double"), (3,), (1,))}, [six])
archive("number.pth", {"w": good, "epoch": 3}, [six])
archive("keys.pth", {1: good}, [six])
archive("list.pth", [good], [six])
archive("whole.pth", Call(function("torchvision.models.resnet", "ResNet"), state={"w": good}), [six])
archive("script.pth", {"w": good}, [six], {"constants.pkl": "", "code/a.py": ""})
archive("big.pth", {"w": good}, [six], {"byteorder": "big"})
archive("other.pth", {"w": good}, [six], program="data.txt")
archive("packed.pth", {"w": good}, [six], compression=zipfile.ZIP_DEFLATED)
zeros = Storage(b"\0" * 4 * 10**7)
archive("bomb.pth", {"w": tensor(zeros, (10**7,), (1,))}, [zeros],
        compression=zipfile.ZIP_DEFLATED)

# Two members in the same bytes.
with zipfile.ZipFile(os.path.join(folder, "overlap.pth"), "w") as file:
    file.writestr("any/data.pkl",
                  dumps({"w": good, "v": tensor(Storage(six.data, key="1"), (6,), (1,))}))
    file.writestr("any/data/0", six.data)
    twin = zipfile.ZipInfo("any/data/1")
    first = file.getinfo("any/data/0")
    twin.header_offset, twin.CRC = first.header_offset, first.CRC
    twin.compress_size = twin.file_size = first.file_size
    file.filelist.append(twin)

legacy("system.pth", {"w": good}, [six], system={"little_endian": False})
legacy("count.pth", {"w": good}, [six], counts=[7])
legacy("absurd_count.pth",
       {"w": tensor(Storage(six.data, size=2**61), (2, 3), (3, 1))},
       [Storage(six.data, size=2**61)])
legacy("stranger.pth", {"w": good}, [Storage(six.data, key="5")])
legacy("missing.pth", {"w": good}, [])
with open(os.path.join(folder, "version.pth"), "wb") as file:
    file.write(dumps(0x1950A86A20F9469CFC6C) + dumps(1002) + dumps({}))
