"""cuDF sums a column on the GPU."""

import sys

import cupy

try:
    count = cupy.cuda.runtime.getDeviceCount()
except cupy.cuda.runtime.CUDARuntimeError as error:
    print(f"RAPIDS sees no GPU: {error}")
    sys.exit(77)
import cudf

total = int(cudf.Series(range(1000)).sum())
assert total == 499500, f"the sum is {total}, not 499500"
name = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
print(f"cudf {cudf.__version__}, {count} GPU: {name}")
