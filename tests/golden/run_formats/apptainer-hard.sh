# Apptainer publishes no ports: servers listen on the host's own addresses.
mkdir -p '/home/me/my, "first" $x it'"'"'s 你好/output'
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT HUP INT TERM
APPTAINERENV_HARD='a b it'"'"'s "q" $HOME $(id) $$ `id` l1
l2 你好 # ' \
  APPTAINERENV_NUMBER=1e3 \
  APPTAINERENV_OCTAL=0755 \
  APPTAINERENV_SEXAGESIMAL=12:30:45 \
  APPTAINERENV_TRUTH=yes \
  APPTAINERENV_NOTHING='~' \
  APPTAINERENV_EMPTY='' \
  APPTAINERENV_WANDB_API_KEY="$WANDB_API_KEY" \
  apptainer run --contain --cleanenv --no-eval --workdir "$work" \
  --nv \
  --pwd /code \
  --mount 'type=bind,"source=/home/me/my, ""first"" $x it'"'"'s 你好",destination=/code' \
  --mount 'type=bind,"source=/home/me/my, ""first"" $x it'"'"'s 你好/output",destination=/output' \
  --mount 'type=bind,"source=/home/me/my, ""first"" $x it'"'"'s 你好/数据",destination=/data/数据,ro' \
  docker://registry.example/team/pytorch:2.15.0-cuda13.2-cudnn9.26-py3.13-debian13 \
  python 'a b' 'it'"'"'s' '"q"' '$HOME' '$(id)' '$$' '`id`' 'l1
l2' '你好' '#' ''
