"""Segmentation models by name: a decoder of segmentation_models_pytorch on a backbone of timm."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from numbers import Integral
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from geoxr._torchvision import heal
from geoxr.errors import ArgumentError

DEFAULT_BACKBONE = "resnet18"


class Padded(nn.Module):
    """A model that takes images of any height and width.

    Images are padded below and on the right by repeating their last row and column, up to whole
    multiples of `stride`, and what comes out is cropped back. Images that fit pass unchanged.

    Parameters
    ----------
    net : Module
        Takes (B, C, H, W) and returns (B, K, H, W).
    stride : int [pixel]
        What H and W must be multiples of for `net`.
    """

    def __init__(self, net: nn.Module, stride: int) -> None:
        super().__init__()
        self.net = net
        self.stride = stride

    def forward(self, image: Tensor) -> Tensor:
        """Map an image (B, C, H, W) to logits (B, K, H, W)."""
        height, width = image.shape[-2:]
        below, right = -height % self.stride, -width % self.stride
        if below or right:
            image = functional.pad(image, (0, right, 0, below), mode="replicate")
        return self.net(image)[..., :height, :width]

    def freeze_encoder(self) -> None:
        """Stop training the backbone, its normalisation layers included."""
        self.net.freeze_encoder()  # type: ignore[operator]


def list_models() -> tuple[str, ...]:
    """Names that :func:`create_model` knows.

    Examples
    --------
    >>> list_models()
    ('deeplabv3+', 'fpn', 'unet', 'unet++')
    """
    return tuple(sorted(_MODELS))


def create_model(
    name: str,
    *,
    in_channels: int,
    num_classes: int | None = None,
    backbone: str | None = None,
    weights: str | None = None,
    decoder_channels: int | Sequence[int] | None = None,
) -> nn.Module:
    """Build a segmentation model with random weights; nothing is downloaded.

    Parameters
    ----------
    name : str
        One of :func:`list_models`.
    in_channels : int
        Bands of the image.
    num_classes : int
        Channels of the output.
    backbone : str, optional
        Any model of timm that returns features ("resnet18" if left out); ``timm.list_models()``.
    weights : None
        Pre-trained weights are not there yet.
    decoder_channels : int or sequence of int, optional
        Width of the decoder. "unet" and "unet++" take one number per level, deepest first, and
        have as many levels as there are numbers, 3 to 5: (256, 128, 64, 32, 16) if left out.
        "deeplabv3+" and "fpn" take one number (256 if left out).

    Returns
    -------
    Module
        Takes float (B, C, H, W), of any H and W, and returns logits (B, K, H, W).

    Raises
    ------
    ArgumentError
        If a name is unknown, the backbone has no features that fit, a number makes no sense, or
        weights are asked for.

    References
    ----------
    U-Net: Ronneberger et al. 2015, arXiv:1505.04597. U-Net++: Zhou et al. 2018,
    arXiv:1807.10165. DeepLabV3+: Chen et al. 2018, arXiv:1802.02611. FPN: Lin et al. 2017,
    arXiv:1612.03144, with the segmentation head of Kirillov et al. 2019, arXiv:1901.02446.
    """
    if name not in _MODELS:
        raise _unknown("model", name, list_models(), "gx.models.list_models()")
    if weights is not None:
        raise ArgumentError(
            f"weights={weights!r}, but pre-trained weights are not there yet. Use weights=None."
        )
    backbone = _check_backbone(backbone or DEFAULT_BACKBONE)
    architecture, decoder = _MODELS[name]
    options = decoder(name, decoder_channels)
    options["in_channels"] = _positive("in_channels", in_channels)
    options["classes"] = _positive("num_classes", num_classes)
    heal()
    import segmentation_models_pytorch as smp

    try:
        net = getattr(smp, architecture)(
            encoder_name=f"tu-{backbone}", encoder_weights=None, **options
        )
    except (AssertionError, AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ArgumentError(
            f"timm's {backbone!r} cannot be the backbone of {name!r}: {str(error).rstrip('.')}. "
            "Try one that is made of stages: 'resnet18', 'efficientnet_b0', 'convnext_tiny'."
        ) from error
    return Padded(net, net.encoder.output_stride)


def _levels(name: str, channels: int | Sequence[int] | None) -> dict[str, Any]:
    """Options of a decoder with one width per level."""
    if channels is None:
        return {}
    levels = () if isinstance(channels, int) else tuple(channels)
    if not 3 <= len(levels) <= 5:
        raise ArgumentError(
            f"decoder_channels={channels!r}, but {name!r} takes 3 to 5 numbers, one per level and "
            "the deepest first: decoder_channels=(128, 64, 32, 16)."
        )
    levels = tuple(_positive("decoder_channels", level) for level in levels)
    return {"encoder_depth": len(levels), "decoder_channels": levels}


def _one_width(name: str, channels: int | Sequence[int] | None) -> int:
    if isinstance(channels, Sequence):
        raise ArgumentError(
            f"decoder_channels={channels!r}, but {name!r} takes one number: decoder_channels=128."
        )
    return _positive("decoder_channels", 256 if channels is None else channels)


def _aspp(name: str, channels: int | Sequence[int] | None) -> dict[str, Any]:
    """Options of a decoder with one width."""
    return {"decoder_channels": _one_width(name, channels)}


def _pyramid(name: str, channels: int | Sequence[int] | None) -> dict[str, Any]:
    """Options of a pyramid, whose head is half as wide, as in Kirillov et al."""
    width = _one_width(name, channels)
    if width % 64:
        raise ArgumentError(
            f"decoder_channels={width}, but {name!r} normalises half of them in 32 groups: "
            "give a multiple of 64."
        )
    return {"decoder_pyramid_channels": width, "decoder_segmentation_channels": width // 2}


_Decoder = Callable[[str, int | Sequence[int] | None], dict[str, Any]]
#: Name -> (class in segmentation_models_pytorch, how it calls the widths of its decoder).
_MODELS: dict[str, tuple[str, _Decoder]] = {
    "unet": ("Unet", _levels),
    "unet++": ("UnetPlusPlus", _levels),
    "deeplabv3+": ("DeepLabV3Plus", _aspp),
    "fpn": ("FPN", _pyramid),
}


def _check_backbone(backbone: str) -> str:
    heal()
    import timm

    if not timm.is_model(backbone):
        raise _unknown("backbone", backbone, timm.list_models(), "timm.list_models()")
    return backbone


def _positive(name: str, value: int | None) -> int:
    if not isinstance(value, Integral) or value < 1:
        raise ArgumentError(f"{name}={value!r}, but it must be a whole number of at least 1.")
    return int(value)


def _unknown(kind: str, name: str, known: Iterable[str], listing: str) -> ArgumentError:
    near = difflib.get_close_matches(str(name), list(known), n=3)
    hint = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
    return ArgumentError(f"There is no {kind} {name!r}. {hint}All names: {listing}.")
