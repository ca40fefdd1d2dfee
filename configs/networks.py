"""The families of networks: one frozen dataclass of options for each, and one entry in FAMILIES that says the rest.

A new family is its file in `models/` and its entry here, with its dataclass where it has options of its own. The entry
lives in this room, and names its file instead of importing it, so that flags and recipes need no framework.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from configs.options import Options, RecipeError, fields_of, option

MODEL_HELP = "model name: family and variant, such as tsm_r50"


@dataclass(frozen=True)
class Network(Options):
    """Options of every network."""

    model: str = option("", MODEL_HELP)
    num_classes: int = option(
        0, "classes of the head; 0 takes the number from the dataset", at_least=0, at_most=1_000_000
    )
    dropout: float = option(0.5, "dropout before the classifier", at_least=0, below=1)
    partial_bn: bool = option(False, "freeze every BatchNorm but the first")
    norm_eps: float = option(
        1e-5, "epsilon of every BatchNorm; TensorFlow's MobileNetV2 has 1e-3", of_weights=True, above=0
    )

    def check(self) -> None:
        """Raises RecipeError if no family has the model, or another one than this class belongs to."""
        if type(self) is not self.family.options:
            raise RecipeError(f"model must be one of {', '.join(self.family.models)}, got {self.model!r}")

    def check_frames(self, num_frames: int) -> None:
        """Raises RecipeError if the network cannot take clips of that many frames; for subclasses to override."""

    def check_size(self, name: str, size: int) -> None:
        """Raises RecipeError if it cannot take pictures of the side that the option `name` sets; to be overridden."""

    def input_shape(self, num_frames: int, size: int) -> tuple[int, ...]:
        """Shape of one input, without N: (T, 3, H, W)."""
        return num_frames, 3, size, size

    @classmethod
    def own_options(cls) -> tuple[str, ...]:
        """Flags of the options that this family alone declares."""
        inherited = {name for parent in cls.__mro__[1:] for name in vars(parent).get("__annotations__", {})}
        return tuple(flag for flag, f in fields_of(cls).items() if f.name not in inherited)

    @property
    def family(self) -> Family:
        """The family that has the model."""
        return family_of(self.model)

    @property
    def variant(self) -> str:
        """Which network of its family the model is, such as `r50`."""
        return self.family.models[self.model]


@dataclass(frozen=True)
class ImageNetwork(Network):
    """Options of the networks that run an image backbone on each frame."""

    same_padding: bool = option(False, "MobileNetV2: pad strided convolutions as TensorFlow does", of_weights=True)
    consensus: str = option(
        "family",
        "averaged over frames: features before the classifier, scores behind it, or as the model's family does",
        choices=("family", "features", "scores"),
    )

    def check(self) -> None:
        """Raises RecipeError as `Network.check` does, and for TensorFlow's padding of another backbone."""
        super().check()
        fits = self.variant == "mobilenet_v2" or not self.same_padding
        self.require("same_padding", fits, f"off for {self.model}: it belongs to mobilenet_v2")


@dataclass(frozen=True)
class TSN(ImageNetwork):
    """Temporal segment networks: the features of frames are averaged, without a temporal module."""

    model: str = option("tsn_r50", MODEL_HELP)


@dataclass(frozen=True)
class TSM(ImageNetwork):
    """Temporal shift."""

    model: str = option("tsm_r50", MODEL_HELP)

    shift_div: int = option(8, "TSM: 1 / shift_div of the channels moves each way", at_least=2)
    shift_place: str = option(
        "blockres", "TSM: shift inside the residual branch or before the block", choices=("blockres", "block")
    )
    shift_direction: str = option(
        "mit",
        "TSM: first fold takes the next frame (mit), the previous (paddle), or past only (online)",
        choices=("mit", "paddle", "online"),
    )
    temporal_pool: bool = option(False, "TSM: halve the frames before the second stage")

    def check(self) -> None:
        """Raises RecipeError as `ImageNetwork.check` does, and for temporal pooling between blocks of no stage."""
        super().check()
        fits = self.variant != "mobilenet_v2" or not self.temporal_pool
        self.require("temporal_pool", fits, f"off for {self.model}, whose stages are no layers")

    def check_frames(self, num_frames: int) -> None:
        """Raises RecipeError for temporal pooling of an odd number of frames."""
        fits = num_frames % 2 == 0 or not self.temporal_pool
        self.require("temporal_pool", fits, "off for an odd number of frames")


@dataclass(frozen=True)
class MVF(ImageNetwork):
    """Multi-view fusion."""

    model: str = option("mvf_r50", MODEL_HELP)

    mvf_mode: str = option("THW", "MVF: the views that are fused", choices=("THW", "TH", "T"))
    mvf_alpha: float = option(0.125, "MVF: fraction of the channels that is fused", at_least=0, at_most=1)
    mvf_share: bool = option(False, "MVF: one kernel for all views")
    mvf_use_hs: bool = option(True, "MVF: BatchNorm and hard-swish after the sum of views")
    mvf_stages: tuple[int, ...] = option((0, 0, 1, 1), "MVF: 1 for each of the four stages that gets it")

    def check(self) -> None:
        """Raises RecipeError as `ImageNetwork.check` does, and for stages that are not four bits."""
        super().check()
        bits = len(self.mvf_stages) == 4 and set(self.mvf_stages) <= {0, 1}
        self.require("mvf_stages", bits, "four of 0 or 1")


@dataclass(frozen=True)
class ClipNetwork(Network):
    """Options of the networks that convolve over frames too."""

    places: str = option(
        "all",
        "3-D networks: average over all places before the classifier, or classify each window of a training crop's "
        "size in a larger frame and average logits or probabilities",
        choices=("all", "logits", "probabilities"),
    )
    place_window: int = option(7, "side of such a window: 7 places for crops of 224", at_least=1)


@dataclass(frozen=True)
class I3D(ClipNetwork):
    """Inflated ResNet."""

    model: str = option("i3d_r50", MODEL_HELP)

    i3d_stem_stride: int = option(
        0, "I3D: temporal stride of the stem and of the pooling behind it: 2 in mmaction2, 1 in PySlowFast, and in the "
        "heavy network; 0: 2, or 1 for the heavy one", of_weights=True, at_least=0, at_most=2,
    )  # fmt: skip

    @property
    def stem_stride(self) -> int:
        """The temporal stride of the stem."""
        return self.i3d_stem_stride or (1 if self.variant.endswith("_heavy") else 2)

    def check_frames(self, num_frames: int) -> None:
        """Raises RecipeError for so few frames that none is left behind the pooling that halves them."""
        least = 5 if self.stem_stride == 2 else 2
        rule = f"another, or clip_len {least} or more: of {num_frames} frames it leaves none"
        self.require("i3d_stem_stride", num_frames >= least, rule)


@dataclass(frozen=True)
class SlowOnly(ClipNetwork):
    """The slow pathway of SlowFast."""

    model: str = option("slowonly_r50", MODEL_HELP)


@dataclass(frozen=True)
class SlowFast(ClipNetwork):
    """Two pathways."""

    model: str = option("slowfast_r50", MODEL_HELP)

    slowfast_alpha: int = option(
        0, "SlowFast: fast frames for each slow one: 8 in 4x16, 4 in 8x8 and 16x8; 0: 4", of_weights=True, at_least=0
    )
    lateral_kernel: int = option(7, "SlowFast: frames that a lateral connection reaches over", at_least=1)
    lateral_norm: bool = option(True, "SlowFast: BatchNorm and ReLU behind a lateral connection")
    slow_frames: str = option(
        "linspace",
        "SlowFast: slow frames from the first to the last (PySlowFast), or at a stride of alpha (mmaction2)",
        choices=("linspace", "stride"),
        of_weights=True,
    )
    joined_order: str = option(
        "slow_fast",
        "SlowFast: order of the pathways' features before the classifier; mmaction2's is fast_slow",
        choices=("slow_fast", "fast_slow"),
        of_weights=True,
    )

    def check(self) -> None:
        """Raises RecipeError as `Network.check` does, and for a lateral kernel without a middle."""
        super().check()
        self.require("lateral_kernel", self.lateral_kernel % 2 == 1, "odd")

    @property
    def alpha(self) -> int:
        """Fast frames for each slow one."""
        return self.slowfast_alpha or 4

    def check_frames(self, num_frames: int) -> None:
        """Raises RecipeError for frames that alpha does not divide."""
        fits = num_frames % self.alpha == 0
        self.require("slowfast_alpha", fits, f"a divisor of the clip's {num_frames} frames")


@dataclass(frozen=True)
class InceptionI3D(Network):
    """Inflated Inception-v1."""

    model: str = option("i3d_inception", MODEL_HELP)
    norm_eps: float = option(1e-3, "epsilon of every BatchNorm", of_weights=True, above=0)

    i3d_norm_weight: bool = option(False, "I3D of Inception: train the norms' weights, which the published has not")


@dataclass(frozen=True)
class X3D(ClipNetwork):
    """X3D."""

    model: str = option("x3d_m", MODEL_HELP)

    x3d_shortcut_norm: bool = option(
        True, "X3D: BatchNorm in the first stage's shortcut, which PyTorchVideo's has not", of_weights=True
    )


@dataclass(frozen=True)
class C3D(Network):
    """C3D."""

    model: str = option("c3d", MODEL_HELP)

    c3d_norm: bool = option(False, "C3D: the norms and poolings of Efficient-3DCNNs")

    def check_frames(self, num_frames: int) -> None:
        """Raises RecipeError for clips of other than 16 frames."""
        self.require("model", num_frames == 16, f"another for clips of {num_frames} frames, or clip_len 16")


@dataclass(frozen=True)
class R2Plus1D(ClipNetwork):
    """R(2+1)D."""

    model: str = option("r2plus1d_r18", MODEL_HELP)


@dataclass(frozen=True)
class R3D(ClipNetwork):
    """R3D."""

    model: str = option("r3d_r18", MODEL_HELP)

    r3d_pooled_stem: bool = option(
        False, "R3D: a stem over 7 frames and a pooling behind it, as 3D-ResNets-PyTorch has", of_weights=True
    )


@dataclass(frozen=True)
class MC3(ClipNetwork):
    """MC3."""

    model: str = option("mc3_r18", MODEL_HELP)


@dataclass(frozen=True)
class ShuffleNet3D(ClipNetwork):
    """ShuffleNetV2 over clips."""

    model: str = option("shufflenet3d_x1_0", MODEL_HELP)
    dropout: float = option(0.2, "dropout before the classifier", at_least=0, below=1)


@dataclass(frozen=True)
class MobileNet3D(ClipNetwork):
    """MobileNetV2 over clips."""

    model: str = option("mobilenet3d_x1_0", MODEL_HELP)
    dropout: float = option(0.2, "dropout before the classifier", at_least=0, below=1)


@dataclass(frozen=True)
class UNet(Network):
    """UNet over images: each class has a map of logits."""

    model: str = option("unet_x0_25", MODEL_HELP)
    dropout: float = option(0.0, "dropout before the classifier", at_least=0, below=1)

    unet_up: str = option(
        "transposed",
        "UNet: how the decoder doubles a map: transposed convolution, or upsampling and a convolution",
        choices=("transposed", "nearest", "bilinear"),
    )

    def check_frames(self, num_frames: int) -> None:
        """Raises RecipeError for clips."""
        self.require("model", num_frames == 1, f"another for {num_frames} frames, or num_segments 1 and clip_len 1")

    def check_size(self, name: str, size: int) -> None:
        """Raises RecipeError for a side that five halvings do not divide."""
        self.require("model", size % 32 == 0, f"another for {name} {size}, or that a multiple of 32")

    def input_shape(self, num_frames: int, size: int) -> tuple[int, ...]:
        """Shape of one image, (3, H, W)."""
        return 3, size, size


@dataclass(frozen=True)
class Family:
    """What everybody needs to know of a family of networks.

    Attributes:
        name: Beginning of its models' names.
        options: Dataclass of its options.
        variants: Ends of its models' names: `<name>_<variant>`.
        module: File in `models/` with its functions, see `models.families.Implementation`. A file of the same name in
            `alignment/reference/` holds its PyTorch twin.
        presets: Variant -> nearest preset; the key "" is for all others. Without any, the defaults are the recipe.
        tensors: Regular expression of the names of its tensors; those of the classifier begin with `cls_head.`.
        task: Key of `tasks.TASKS`: what its output means.
        small_clip: Frames, and their side in pixels, of a small clip that all its networks take, to prove them by.
        engines: Keys of `deploy.engines.ENGINES` that come before the others where no engine is asked for.
    """

    name: str
    options: type[Network]
    variants: tuple[str, ...]
    module: str
    presets: Mapping[str, str] = field(default_factory=dict)
    tensors: str = r"(?:backbone|cls_head)\..+"
    task: str = "classification"
    small_clip: tuple[int, int] = (4, 64)
    engines: tuple[str, ...] = ()

    def model(self, variant: str) -> str:
        """Name of a variant's model; the only one of a family may have none of its own."""
        return f"{self.name}_{variant}" if variant else self.name

    @property
    def models(self) -> dict[str, str]:
        """Model name -> variant."""
        return {self.model(variant): variant for variant in self.variants}

    def may_have(self, option_name: str) -> bool:
        """Whether an option is not one of other families only."""
        owners = families_with(option_name)
        return not owners or self in owners


_BACKBONES = ("r18", "r34", "r50", "r101", "mobilenet_v2", "tiny")
_IMAGE_TENSORS = r"backbone\.(?:conv1|bn1|layer[1-4]|features)\..+|cls_head\.new_fc\.\w+"


def _image_family(name: str, options: type[Network], module: str) -> Family:
    presets = {
        "mobilenet_v2": f"finetune_{name}_mobilenet_v2",
        "tiny": f"demo_{name}",
        "": f"kinetics400_{name}_r50",
    }
    return Family(name, options, _BACKBONES, module, presets, _IMAGE_TENSORS)


_RESNET3D = r"(?:conv1|bn1|layer[1-4]\.\d+\.(?:conv\d|bn\d|downsample\.\d))\.(?:weight|bias|_mean|_variance)"
_CLIP_HEAD = r"cls_head\.new_fc\.\w+"
_CLIP_TENSORS = rf"backbone\.{_RESNET3D}|{_CLIP_HEAD}"
_SLOWFAST_TENSORS = rf"backbone\.(?:(?:slow|fast)_path\.{_RESNET3D}|lateral\.\d\.(?:conv|bn)\.\w+)|{_CLIP_HEAD}"
_R2PLUS1D_TENSORS = (
    r"backbone\.(?:conv1|bn1|layer[1-4]\.\d+\.(?:conv\d|bn\d|downsample\.\d))\.(?:conv_[st]\.|bn_s\.)?"
    rf"(?:weight|bias|_mean|_variance)|{_CLIP_HEAD}"
)
_INCEPTION_TENSORS = rf"backbone\.(?:Conv3d|Mixed)_\w+\.(?:b\d[ab]?\.)?(?:conv3d|bn)\.\w+|{_CLIP_HEAD}"
_X3D_TENSORS = (
    r"backbone\.(?:conv1_[st]|bn1|conv5|bn5|layer[1-4]\.\d+\.(?:conv\d|bn\d|se\.fc[12]|downsample\.\d))"
    rf"\.(?:weight|bias|_mean|_variance)|cls_head\.fc1\.weight|{_CLIP_HEAD}"
)
_SHUFFLENET_TENSORS = rf"backbone\.(?:conv[15]|bn[15]|stage[2-4]\.\d\.branch[12]\.(?:conv|bn)[1-3])\.\w+|{_CLIP_HEAD}"
_MOBILENET_TENSORS = rf"backbone\.features\..+|{_CLIP_HEAD}"
_UNET_TENSORS = (
    r"backbone\.(?:enc[1-5]\.(?:conv|bn)[12]|features\..+|decoder\.(?:up[1-5]\.conv|dec[1-5]\.(?:conv|bn)[12]))\.\w+"
    rf"|{_CLIP_HEAD}"
)
_C3D_TENSORS = rf"backbone\.(?:(?:conv|bn)\d[ab]|fc[67])\.(?:weight|bias|_mean|_variance)|{_CLIP_HEAD}"


# Of one clip OpenVINO needs 0.41, 0.78 and 0.82 of the time that ONNX Runtime needs (x3d_s, slowfast_r50, i3d_r50).
_CLIP_ENGINES = ("openvino",)


def _clip_family(
    name: str,
    options: type[Network],
    module: str,
    variants: tuple[str, ...],
    own: bool = False,
    tensors: str = _CLIP_TENSORS,
    small_clip: tuple[int, int] = (4, 64),
    data: str = "kinetics400",
) -> Family:
    """A family of networks over clips with a preset of Kinetics for the first variant, or for each its own."""
    preset = f"{data}_{name}"
    presets = {variant: f"{preset}_{variant}" for variant in variants if own and variant != "tiny"}
    presets[""] = f"{preset}_{variants[0]}" if variants[0] else preset
    return Family(name, options, variants, module, presets, tensors, small_clip=small_clip, engines=_CLIP_ENGINES)


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        _image_family("tsn", TSN, "models.recognizer2d"),
        _image_family("tsm", TSM, "models.temporal_shift"),
        _image_family("mvf", MVF, "models.multi_view_fusion"),
        _clip_family("i3d", I3D, "models.i3d", ("r50", "r101", "r50_heavy", "tiny"), small_clip=(8, 64)),
        _clip_family(
            "i3d_inception",
            InceptionI3D,
            "models.inception_i3d",
            ("",),
            tensors=_INCEPTION_TENSORS,
            small_clip=(4, 96),  # each side 1, or 3 and more, before the last pooling, which would meet equals else
        ),
        _clip_family("slowonly", SlowOnly, "models.slowonly", ("r50", "r101", "tiny")),
        _clip_family(
            "slowfast", SlowFast, "models.slowfast", ("r50", "r101", "r101_50_50", "tiny"), tensors=_SLOWFAST_TENSORS
        ),
        _clip_family("r2plus1d", R2Plus1D, "models.r2plus1d", ("r18", "r34"), own=True, tensors=_R2PLUS1D_TENSORS),
        _clip_family("r3d", R3D, "models.r3d", ("r18", "r34", "r50")),
        _clip_family("mc3", MC3, "models.mc3", ("r18",)),
        _clip_family("x3d", X3D, "models.x3d", ("m", "xs", "s", "l", "tiny"), own=True, tensors=_X3D_TENSORS),
        _clip_family(
            "shufflenet3d",
            ShuffleNet3D,
            "models.shufflenet3d",
            ("x1_0", "x0_25", "x0_5", "x1_5", "x2_0"),
            tensors=_SHUFFLENET_TENSORS,
            small_clip=(8, 64),
            data="kinetics600",
        ),
        _clip_family(
            "mobilenet3d",
            MobileNet3D,
            "models.mobilenet3d",
            ("x1_0", "x0_2", "x0_45", "x0_7"),
            tensors=_MOBILENET_TENSORS,
            small_clip=(8, 64),
            data="kinetics600",
        ),
        Family(
            "c3d",
            C3D,
            ("",),
            "models.c3d",
            {"": "ucf101_c3d"},
            _C3D_TENSORS,
            small_clip=(16, 112),
            engines=_CLIP_ENGINES,
        ),
        Family(
            "unet",
            UNet,
            ("x0_25", "x0_5", "x1_0", "mobilenet_v2", "tiny"),
            "models.unet",
            {"tiny": "demo_unet", "mobilenet_v2": "portraits_unet_mobilenet_v2", "": "portraits_unet"},
            _UNET_TENSORS,
            task="segmentation",
            small_clip=(1, 64),
        ),
    )
}


def model_names() -> list[str]:
    """The names of all models."""
    return [model for family in FAMILIES.values() for model in family.models]


def family_of(model: str) -> Family:
    """The family that has a model.

    Raises:
        RecipeError: None has; the message lists all models.
    """
    for family in FAMILIES.values():
        if model in family.models:
            return family
    raise RecipeError(f"model must be one of {', '.join(model_names())}, got {model!r}")


def network_of(model: str, **options: Any) -> Network:
    """The options of a model, by its name.

    Raises:
        RecipeError: The model is unknown, an option is none of its family's, or a value is out of its range.
    """
    group = family_of(model).options
    fields = fields_of(group)
    for name in options:
        if name not in fields:
            owners = " and ".join(family.name for family in families_with(name))
            raise RecipeError(f"{name} must be off for {model}: it belongs to {owners or 'no'} models")
    return group(model=model, **{fields[name].name: value for name, value in options.items()})


def families_with(option_name: str) -> list[Family]:
    """The families that have an option of that flag; none for an option that every network has, or that is none."""
    common = fields_of(Network)
    return [f for f in FAMILIES.values() if option_name in fields_of(f.options) and option_name not in common]
