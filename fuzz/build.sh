#!/usr/bin/env bash
# Build what the fuzzer covers in a copy of the tree, build/fuzz-tree, and print the command that fuzzes there.
set -euo pipefail
cd "$(dirname "$0")/.."
tree=build/fuzz-tree
python=$PWD/.venv/bin/python
rm -rf "$tree" && mkdir -p "$tree"
cp -r cstd fuzz pyproject.toml setup.py "$tree"/
(
    cd "$tree"
    modules=codes,layout,wire,reports,book,journal_scan
    CSTD_ONLY=$modules CFLAGS="-fsanitize-coverage=trace-pc,trace-cmp" "$python" setup.py --quiet build_ext --inplace --force >&2
    gcc -O2 -shared -fPIC fuzz/coverage.c -o coverage.so
)
echo "cd $tree && PYTHONPATH=\$PWD:$PWD/build/fuzz-env LD_PRELOAD=\$PWD/coverage.so $python -m fuzz.run scan -max_total_time=60"
