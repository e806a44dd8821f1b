"""ncnn, its convolutions as Winograd or as plain sums. Float networks only: its importer, pnnx, has no integer operators."""

import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import HarnessError, PlatformUnavailable, Unsupported
from harness.platforms.base import PLATFORMS, Array, Engine, Feeds, PlatformSpec, Session
from harness.platforms.hosts import PREPARE, Venv
from harness.platforms.ports import Ports, read_ports

if TYPE_CHECKING:
    import ncnn

# --no-deps: the importer is a program of its own, beside which pip would bring torch and its CUDA libraries.
HOST = Venv(
    name="ncnn",
    requirements=(
        "--no-deps",
        "numpy==2.2.6",
        "onnx==1.23.2",
        "protobuf==7.36.2",
        "typing_extensions==4.16.0",
        "ml_dtypes==0.6.0",
        "ncnn==1.0.20261020",
        "pnnx==20261020",
    ),
)
# Everything that ncnn would do in fewer bits than float32.
NARROW = (
    "use_fp16_packed",
    "use_fp16_storage",
    "use_fp16_arithmetic",
    "use_bf16_packed",
    "use_bf16_storage",
)
IMPORT_SECONDS = 120


@dataclass(frozen=True, kw_only=True)
class NcnnPlatform(PlatformSpec):
    """Without the float warp: ncnn has no CumSum, by which that counts pixels."""

    host: Venv = HOST
    winograd: bool = False

    def open(self) -> Engine:
        remedy = PREPARE.format(name=self.name)
        try:
            import ncnn  # noqa: F401
        except ImportError as error:
            raise PlatformUnavailable(self.name, str(error), remedy) from error
        # Not imported: its Python half wants torch, the program beside it does not.
        found = find_spec("pnnx")
        if found is None or not found.submodule_search_locations:
            raise PlatformUnavailable(self.name, "its importer pnnx is not installed", remedy)
        return NcnnEngine(
            Path(found.submodule_search_locations[0]) / "pnnx", winograd=self.winograd
        )


class NcnnEngine:
    """Child side of ncnn."""

    def __init__(self, importer: Path, *, winograd: bool) -> None:
        self._importer = importer
        self._winograd = winograd

    def environment(self) -> Mapping[str, str]:
        import ncnn

        option = self.fresh().opt
        algorithm = "Winograd" if option.use_winograd_convolution else "sgemm"
        isa = "avx2" if ncnn.cpu_support_x86_avx2() else "baseline"
        return {
            "runtime": f"ncnn {ncnn.__version__}",
            "importer": f"pnnx {version('pnnx')}",
            "provider": "ncnn CPU",
            "threads": str(option.num_threads),
            "winograd": "on" if option.use_winograd_convolution else "off",
            "narrow_floats": " ".join(n for n in NARROW if getattr(option, n)) or "off",
            "integer_kernel": "none: float networks only",
            "float_kernel": f"ncnn {algorithm} {isa}",
        }

    def load(self, onnx_model: bytes) -> Session:
        return NcnnSession(self, onnx_model, read_ports(onnx_model))

    def fresh(self) -> "ncnn.Net":
        import ncnn

        net = ncnn.Net()
        net.opt.num_threads = 1
        net.opt.use_vulkan_compute = False
        net.opt.use_winograd_convolution = self._winograd
        for name in NARROW:
            setattr(net.opt, name, False)
        return net

    def imported(self, onnx_model: bytes, arrays: list[Array]) -> "ncnn.Net":
        """Through pnnx: it takes shapes, gives a text of layers and a file of weights. Unsupported names what it left over."""
        shapes = ",".join(f"{list(a.shape)}{a.dtype.kind}{8 * a.dtype.itemsize}" for a in arrays)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "graph.onnx").write_bytes(onnx_model)
            command = [str(self._importer), "graph.onnx", f"inputshape={shapes}", "fp16=0"]
            try:
                subprocess.run(
                    [part.replace(" ", "") for part in command],
                    cwd=folder,
                    capture_output=True,
                    check=True,
                    timeout=IMPORT_SECONDS,
                )
            except (subprocess.SubprocessError, OSError) as error:
                raise Unsupported(f"pnnx cannot read the graph: {error}") from error
            parameters, weights = (Path(folder) / f"graph.ncnn.{end}" for end in ("param", "bin"))
            if not parameters.is_file():
                raise Unsupported("pnnx cannot read the graph: it wrote no ncnn file")
            _check_layers(parameters.read_text(encoding="utf-8"))
            net = self.fresh()
            if net.load_param(str(parameters)) or net.load_model(str(weights)):
                raise HarnessError("ncnn cannot load what pnnx wrote")
            return net


class NcnnSession:
    """One network for each set of shapes."""

    def __init__(self, engine: NcnnEngine, onnx_model: bytes, ports: Ports) -> None:
        self._engine = engine
        self._model = onnx_model
        self._ports = ports
        self._nets: dict[tuple[tuple[int, ...], ...], ncnn.Net] = {}

    def run(self, feeds: Feeds) -> Mapping[str, Array]:
        import ncnn

        arrays = self._ports.ordered(feeds)
        types = {*self._ports.inputs.values(), *self._ports.outputs.values()}
        if types != {"float32"} or any(array.shape[0] != 1 for array in arrays):
            raise Unsupported(
                f"ncnn takes float32 graphs and one image at a time; this one has {', '.join(sorted(types))}"
            )
        shapes = tuple(array.shape for array in arrays)
        if shapes not in self._nets:
            self._nets[shapes] = self._engine.imported(self._model, arrays)
        extractor = self._nets[shapes].create_extractor()
        for position, array in enumerate(arrays):
            extractor.input(f"in{position}", ncnn.Mat(array[0]).clone())
        results = []
        for position, name in enumerate(self._ports.outputs):
            failed, mat = extractor.extract(f"out{position}")
            if failed:
                raise HarnessError(f"ncnn computed no output {name!r}")
            results.append(np.array(mat)[None])
        return self._ports.named(results)


def _check_layers(parameters: str) -> None:
    """What it has no ncnn layer for, pnnx writes under a name of its own."""
    import ncnn

    kinds = {line.split()[0] for line in parameters.splitlines()[2:] if line.strip()}
    unknown = sorted(kind for kind in kinds if ncnn.layer_to_index(kind) < 0)
    if unknown:
        raise Unsupported(f"ncnn has no layer for {', '.join(unknown)}")


PLATFORMS.register(NcnnPlatform(name="ncnn"))
PLATFORMS.register(NcnnPlatform(name="ncnn-winograd", winograd=True))
