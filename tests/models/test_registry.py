"""One contract that every model by name passes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from geoxr.errors import ArgumentError
from geoxr.models import Padded, create_model, list_models

SMALL: dict[str, Any] = {
    "unet": (16, 8, 8),
    "unet++": (16, 8, 8),
    "deeplabv3+": 8,
    "fpn": 64,
}


@pytest.mark.parametrize("name", list_models())
@pytest.mark.parametrize("size", [(64, 64), (50, 33)])
def test_logits_have_the_size_of_the_image(name: str, size: tuple[int, int]) -> None:
    model = create_model(
        name, in_channels=7, num_classes=3, backbone="resnet10t", decoder_channels=SMALL[name]
    )
    logits = model.eval()(torch.randn(2, 7, *size))
    assert logits.shape == (2, 3, *size)
    assert logits.isfinite().all()
    logits.sum().backward()
    assert all(p.grad is not None for p in model.parameters()), "DDP stumbles over unused ones"


def test_padding_repeats_the_edge_and_is_cropped_away() -> None:
    class Remember(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            self.seen = image
            return image

    net = Remember()
    image = torch.arange(2 * 3 * 5.0).reshape(1, 2, 3, 5)
    assert torch.equal(Padded(net, 4)(image), image)
    assert net.seen.shape == (1, 2, 4, 8)
    assert torch.equal(net.seen[..., 3, :5], image[..., 2, :])
    assert torch.equal(net.seen[..., :3, 7], image[..., 4])
    fits = torch.rand(1, 2, 4, 8)
    assert Padded(net, 4)(fits).data_ptr() == fits.data_ptr()


def test_unet_has_as_many_levels_as_widths() -> None:
    options: dict[str, Any] = {"in_channels": 1, "num_classes": 2, "backbone": "resnet10t"}
    three = create_model("unet", decoder_channels=(16, 8, 8), **options)
    five = create_model("unet", **options)
    assert (three.stride, five.stride) == (8, 32)


def test_same_seed_same_weights_and_no_download() -> None:
    models = []
    for _ in range(2):
        torch.manual_seed(3)
        models.append(
            create_model("unet", in_channels=2, num_classes=2, backbone="resnet10t").state_dict()
        )
    assert all(torch.equal(models[0][key], models[1][key]) for key in models[0])


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("unett", {}, r"no model 'unett'. Did you mean 'unet'.*list_models"),
        ("quite else", {}, r"no model 'quite else'. All names"),
        ("unet", {"backbone": "resnet81"}, r"no backbone 'resnet81'. Did you mean 'resnet"),
        ("unet", {"backbone": "tu-resnet18"}, r"Did you mean 'resnet18'"),
        ("unet", {"backbone": "vit_tiny_patch16_224"}, "cannot be the backbone of 'unet'"),
        ("unet", {"weights": "imagenet"}, "pre-trained weights are not there yet"),
        ("unet", {"in_channels": 0}, "in_channels=0"),
        ("unet", {"num_classes": None}, "num_classes=None"),
        ("unet", {"decoder_channels": 32}, "3 to 5 numbers"),
        ("unet++", {"decoder_channels": (32, 16)}, "3 to 5 numbers"),
        ("unet", {"decoder_channels": (32, 16, 0)}, "decoder_channels=0"),
        ("deeplabv3+", {"decoder_channels": (32, 16)}, "takes one number"),
        ("fpn", {"decoder_channels": 32}, "multiple of 64"),
    ],
)
def test_bad_arguments_say_what_to_do(name: str, options: dict[str, Any], match: str) -> None:
    good = {"in_channels": 3, "num_classes": 2, "backbone": "resnet10t"}
    with pytest.raises(ArgumentError, match=match):
        create_model(name, **{**good, **options})
