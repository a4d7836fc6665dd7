mkdir -p '/home/me/my, "first" $x it'"'"'s 你好/output'
podman secret rm WANDB_API_KEY 2>/dev/null || true
podman secret create --env WANDB_API_KEY WANDB_API_KEY
podman run --rm --init \
  --device nvidia.com/gpu=1 \
  --security-opt label=disable \
  --shm-size 8g \
  --stop-timeout 120 \
  --userns keep-id \
  --user 1000:1000 \
  --workdir /code \
  --publish 127.0.0.1:6006:6006 \
  --mount 'type=bind,"source=/home/me/my, ""first"" $x it'"'"'s 你好",target=/code' \
  --mount 'type=bind,"source=/home/me/my, ""first"" $x it'"'"'s 你好/output",target=/output' \
  --mount 'type=bind,"source=/home/me/my, ""first"" $x it'"'"'s 你好/数据",target=/data/数据,readonly' \
  --env 'HARD=a b it'"'"'s "q" $HOME $(id) $$ `id` l1
l2 你好 # ' \
  --env NUMBER=1e3 \
  --env OCTAL=0755 \
  --env SEXAGESIMAL=12:30:45 \
  --env TRUTH=yes \
  --env 'NOTHING=~' \
  --env EMPTY= \
  --secret WANDB_API_KEY,type=env,target=WANDB_API_KEY \
  registry.example/team/pytorch:2.15.0-cuda13.2-cudnn9.26-py3.13-debian13 \
  python 'a b' 'it'"'"'s' '"q"' '$HOME' '$(id)' '$$' '`id`' 'l1
l2' '你好' '#' ''
