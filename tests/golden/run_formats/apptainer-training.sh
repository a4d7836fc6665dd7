# Apptainer publishes no ports: servers listen on the host's own addresses.
mkdir -p /home/me/mnist/output
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT HUP INT TERM
APPTAINERENV_OMP_NUM_THREADS=4 \
  APPTAINERENV_WANDB_API_KEY="$WANDB_API_KEY" \
  apptainer run --contain --cleanenv --no-eval --workdir "$work" \
  --nv \
  --pwd /code \
  --mount type=bind,source=/home/me/mnist,destination=/code \
  --mount type=bind,source=/home/me/mnist/output,destination=/output \
  --mount type=bind,source=/srv/digits,destination=/data/digits,ro \
  --mount type=bind,source=/srv/digits,destination=/input/digits,ro \
  docker://registry.example/team/pytorch:2.15.0-cuda13.2-cudnn9.26-py3.13-debian13 \
  python train.py --epochs 3
