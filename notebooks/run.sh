#!/usr/bin/env bash
# AI Studio 脚本任务：从压缩包到训练好、测试过、可部署的模型；输出目录中已有训练时从检查点继续。退出码非 0 表示失败。
# A script task of AI Studio, or of any machine: from an archive to a model that is trained, tested and exported. Goes on
# where OUTPUT holds a run already. The exit code is 0 only if every step was.
#
#   bash notebooks/run.sh
#   KIND=ucf101 PRESET=ucf101_tsm_r50 FLAGS="--pretrained tsm_k400.pth" bash notebooks/run.sh
#   ARCHIVE= OUTPUT=output/task bash notebooks/run.sh        # 内置数据集 / the embedded data set
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

JOB=${JOB:-/root/paddlejob/workspace}
ARCHIVE=${ARCHIVE-$JOB/train_data/datasets} # 挂载的压缩包或文件夹；空：直接用 DATA / empty: DATA as it is
KIND=${KIND:-folder}                        # python -m tools.prepare --help
OUTPUT=${OUTPUT:-$JOB/output}               # 任务结束后只保留这里 / all that is kept of a task
DATA=${DATA:-$JOB/videos}                   # 整理好的视频；没有则写入内置数据集 / the embedded set if there is none
PRESET=${PRESET:-finetune_tsm_mobilenet_v2}
FLAGS=${FLAGS:-} # train.py 的其他参数 / further flags of train.py
PYTHON=${PYTHON:-python}

# 只安装缺少的包，镜像自带的 Paddle 与 protobuf 保持不变 / what is missing; the image's Paddle and protobuf are kept
kept=$("$PYTHON" -m pip list --format=freeze | awk '/^(paddlepaddle|protobuf)/')
"$PYTHON" -m pip install -qq -r requirements.txt -r requirements-prepare.txt -c <(echo "$kept")

if [ -n "$ARCHIVE" ]; then
    "$PYTHON" -m tools.prepare "$KIND" --source "$ARCHIVE" --root "$DATA"
elif [ ! -e "$DATA" ]; then
    "$PYTHON" -m datasets.demo "$DATA"
fi

read -ra flags <<<"$FLAGS"
if [ -e "$OUTPUT/run/state.json" ]; then
    "$PYTHON" train.py --output_dir "$OUTPUT/run" --resume
else
    "$PYTHON" train.py --preset "$PRESET" --dataset_root "$DATA" --output_dir "$OUTPUT/run" "${flags[@]}"
fi
"$PYTHON" -m tools.plot "$OUTPUT/run"
"$PYTHON" test.py --dataset_root "$DATA" --pretrained "$OUTPUT/run/best.pdparams" --output_dir "$OUTPUT/test"
"$PYTHON" -m deploy.export --pretrained "$OUTPUT/run/best.pdparams" --output "$OUTPUT/artifact" --formats paddle
