# A login shell forgets the image's search path, and one behind sshd its variables, too.
export DLIMG_OVERLAY="${DLIMG_OVERLAY:-/home/user/env}"
export PIP_CONSTRAINT="${PIP_CONSTRAINT-/etc/dlimg/constraints.txt}"
export PATH="$DLIMG_OVERLAY/bin:/opt/env/bin:${CUDA_HOME:+$CUDA_HOME/bin:}$PATH"
