"""What the public tools around TIPC read out of a repository's logs: their rules in our words.

Sources: PaddlePaddle/PaddleTest, models/XPU/run.sh and report.py; PaddlePaddle/PaddleVideo, test_tipc/extract_loss.py
as test_train_dy2static_python.sh calls it; PaddlePaddle/benchmark, scripts/analysis.py as benchmark_train.sh calls it;
PaddlePaddle/continuous_integration, tipc/tipc.sh and upload.sh.
"""

import re


def status_lines(folder):
    """Whatever says `with command` in any `.log` below a folder, as run.sh gathers it."""
    logs = sorted(folder.rglob("*.log"))
    return [line for log in logs for line in log.read_text(errors="replace").splitlines() if "with command" in line]


def report(lines):
    """[(verdict, model, stage)] of status lines: fields at ` - `, of which report.py needs three."""
    trains = ("train.py", "paddle.distributed.launch", "trainer.py", "tools/main.py")
    exports = ("export_model.py", "export.py", "to_static.py")
    found = []
    for line in lines:
        verdict, model, case, *_ = line.split(" - ")
        if any(word in case for word in ("train.py --test-only", "eval.py")):
            stage = "eval"
        elif any(word in case for word in trains):
            stage = "train"
        else:
            stage = "export" if any(word in case for word in exports) else "inference"
        found.append(("success" if "successfully" in verdict else "failed", model.strip(), stage))
    return found


def has_succeeded(lines):
    """Whether tipc.sh calls it a success: there are results, and none says that a run failed."""
    return bool(lines) and not any("Run failed with command" in line for line in lines)


def uploaded(output):
    """Whether upload.sh finds a model to upload: a graph of Paddle 2 and weights, anywhere."""
    return all(any(output.rglob(pattern)) for pattern in ("*.pdmodel", "*.pdiparams"))


def extracted_losses(text):
    """The losses that `extract_loss.py -v 'train step' -e 'loss: {%f} '` prints; a line may have one at most."""
    losses = []
    for line in text.splitlines():
        if "train step" in line:
            found = re.findall(r"loss: (-?\d+\.\d+) ", line.strip())
            assert len(found) <= 1, line
            losses += [float(loss) for loss in found if float(loss)]
    return losses


def benchmark(text, skip_steps=5):
    """(mean of `--keyword ips:` after the first steps, what follows the last `loss:`) by words, as analysis.py does."""
    speeds = [float(found) for found in after_word(text, "ips:")]
    losses = after_word(text, "loss:")
    counted = speeds[skip_steps:]
    return sum(counted) / len(counted) if counted else 0.0, losses[-1] if losses else None


def after_word(text, word):
    """The word after another, of each line that has it as a word of its own."""
    lines = [line.split() for line in text.splitlines()]
    return [words[words.index(word) + 1] for words in lines if word in words[:-1]]
