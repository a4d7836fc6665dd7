# Apptainer publishes no ports: servers listen on the host's own addresses.
mkdir -p /home/me/mnist/output
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT HUP INT TERM
apptainer run --contain --cleanenv --no-eval --workdir "$work" \
  --pwd /code \
  --mount type=bind,source=/home/me/mnist,destination=/code \
  --mount type=bind,source=/home/me/mnist/output,destination=/output \
  docker://registry.example/team/jax:0.12.0.1-cpu-py3.13-debian13-workspace \
  jupyter --ServerApp.ip=127.0.0.1
