#!/usr/bin/env bash
# The wheel holds the three packages, cli.py and fv2es.py and nothing else, and runs away from this checkout.
# Usage: tests/wheel.sh PYTHON   (an environment that has the dependencies)
set -euo pipefail
python=$1
case $python in */*) python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python") ;; esac
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$folder" .
"$python" - "$folder"/*.whl <<'PYTHON'
import sys, zipfile
names = {name.split("/")[0] for name in zipfile.ZipFile(sys.argv[1]).namelist()}
names = {name for name in names if not name.endswith(".dist-info")}
assert names == {"cli.py", "fv2es.py", "fv2es_prep", "fv2es_train", "pipelines"}, names
PYTHON
"$python" -m pip install --quiet --no-deps --target "$folder/site" "$folder"/*.whl
cd "$folder"
PYTHONPATH="$folder/site" "$python" "$folder/site/bin/fv2es" --version
PYTHONPATH="$folder/site" "$python" -c \
  'from fv2es_train.bench.protocol import protocols, read_protocol; assert [*map(read_protocol, protocols())]'
echo "wheel ok"
