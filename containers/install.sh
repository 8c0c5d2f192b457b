#!/bin/sh
# What both images do: install.sh SOURCE PREFIX cpu|cuda makes an environment with the locked versions.
set -eu
source=$1
prefix=$2
torch=$3

install() {
    "$prefix/bin/python" -m pip install --no-cache-dir --disable-pip-version-check -c "$source/constraints.txt" "$@"
}

case $torch in
cpu | cuda) ;;
*)
    echo "TORCH must be cpu or cuda, not '$torch'." >&2
    exit 2
    ;;
esac
python3 -m venv "$prefix"
if [ "$torch" = cpu ]; then # PyTorch's own build of the locked version; the one of PyPI has CUDA
    install --no-deps --index-url "${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}" torch torchvision
fi
install "$source[slurm]"
