"""Runs a graph of Paddle Lite on clips: `python -m test_tipc.lite.infer --model_file x86.nb --clips IN --output OUT`.

Needs nothing but NumPy and paddlelite, in the Python that both have wheels for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from runtime import command
from runtime.errors import UserError


def main(argv: Sequence[str] | None = None) -> None:
    """Reads clips float32 [N, T, 3, H, W] and writes logits float32 [N, K]; clips go in one by one."""
    parser = command.parser(__doc__)
    parser.add_argument("--model_file", required=True, type=Path, help="graph that paddle_lite_opt wrote for x86")
    parser.add_argument("--clips", required=True, help=".npy file of clips, normalized")
    parser.add_argument("--output", required=True, help=".npy file for the logits")
    args = parser.parse_args(argv)
    import numpy as np
    from paddlelite import lite

    if not args.model_file.is_file():
        raise UserError(f"{args.model_file} is absent: paddle_lite_opt makes it")
    config = lite.MobileConfig()
    config.set_model_from_file(str(args.model_file))
    predictor = lite.create_paddle_predictor(config)
    rows = []
    for clip in np.load(args.clips, allow_pickle=False):
        predictor.get_input(0).from_numpy(clip[None])  # [1, T, 3, H, W]
        predictor.run()
        rows.append(predictor.get_output(0).numpy().copy())  # [1, K]
    np.save(args.output, np.concatenate(rows))
    command.say(f"logits of {len(rows)} clips in {args.output}")


if __name__ == "__main__":
    with command.clear_errors():
        main()
