mkdir -p /home/me/mnist/output
podman secret rm WANDB_API_KEY 2>/dev/null || true
podman secret create --env WANDB_API_KEY WANDB_API_KEY
podman run --rm --init \
  --device nvidia.com/gpu=all \
  --security-opt label=disable \
  --shm-size 8g \
  --stop-timeout 120 \
  --userns keep-id \
  --user 1000:1000 \
  --workdir /code \
  --publish 127.0.0.1:6006:6006 \
  --mount type=bind,source=/home/me/mnist,target=/code \
  --mount type=bind,source=/home/me/mnist/output,target=/output \
  --mount type=bind,source=/srv/digits,target=/data/digits,readonly \
  --mount type=bind,source=/srv/digits,target=/input/digits,readonly \
  --env OMP_NUM_THREADS=4 \
  --secret WANDB_API_KEY,type=env,target=WANDB_API_KEY \
  registry.example/team/pytorch:2.15.0-cuda13.2-cudnn9.26-py3.13-debian13 \
  python train.py --epochs 3
