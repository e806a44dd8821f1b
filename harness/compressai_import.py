"""The one place that imports CompressAI. Knows why that needs care."""

import warnings

import torch


def _define_missing_torchvision_operators() -> None:
    """Let `import torchvision` succeed beside a CPU-only torch.

    The torchvision wheel of the registry is linked against CUDA torch; beside a CPU build its compiled
    operators do not load, and its Python half then fails on "operator torchvision::nms does not exist".
    CompressAI uses none of them, so defining the two schemas it looks for is enough.
    """
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for schema in (
        "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    ):
        if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):
            library.define(schema)  # type: ignore[no-untyped-call]
    _LIBRARIES.append(library)  # a Library undoes its definitions when it is collected


_LIBRARIES: list[torch.library.Library] = []

try:
    import torchvision  # noqa: F401
except RuntimeError:
    _define_missing_torchvision_operators()

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import compressai  # noqa: F401
    from compressai.ans import RansDecoder, RansEncoder
    from compressai.layers import GDN
    from compressai.models import CompressionModel, MeanScaleHyperprior, ScaleHyperprior
    from compressai.models.base import get_scale_table
    from compressai.models.video.google import ScaleSpaceFlow
    from compressai.zoo.image import model_urls as image_urls
    from compressai.zoo.pretrained import load_pretrained
    from compressai.zoo.video import model_urls as video_urls

model_urls = {**image_urls, **video_urls}

__all__ = [
    "GDN",
    "CompressionModel",
    "MeanScaleHyperprior",
    "RansDecoder",
    "RansEncoder",
    "ScaleHyperprior",
    "ScaleSpaceFlow",
    "get_scale_table",
    "load_pretrained",
    "model_urls",
]
