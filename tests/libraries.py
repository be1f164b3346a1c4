"""Libraries of image models, as they can be had beside the pinned torch."""

import importlib.util
from types import ModuleType

import torch

# The operators that torchvision describes when it is imported, whether it has them or not. Its models use none of them.
OPERATORS = ("nms", "qnms")


def library(name: str) -> ModuleType:
    """Import torchvision, timm or transformers.

    Of torchvision the registry has builds for GPUs alone, whose compiled operators a torch for the CPU can't load: then they
    are declared, so that the models, which are all Python, can be imported.
    """
    if importlib.util.find_spec("torchvision") and not hasattr(library, "declared"):
        try:
            import torchvision  # noqa: F401
        except RuntimeError:
            library.declared = torch.library.Library("torchvision", "DEF")
            for operator in OPERATORS:
                library.declared.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return importlib.import_module(name)
