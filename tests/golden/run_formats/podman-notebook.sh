mkdir -p /home/me/mnist/output
podman run --rm --init \
  --security-opt label=disable \
  --shm-size 8g \
  --stop-timeout 120 \
  --userns keep-id \
  --user 1000:1000 \
  --workdir /code \
  --publish 127.0.0.1:8888:8888 \
  --mount type=bind,source=/home/me/mnist,target=/code \
  --mount type=bind,source=/home/me/mnist/output,target=/output \
  registry.example/team/jax:0.12.0.1-cpu-py3.13-debian13-workspace \
  jupyter
