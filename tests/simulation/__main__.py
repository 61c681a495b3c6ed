"""python -m tests.simulation --seeds 1-100"""
import sys, time
from tests.simulation.run import run
a, b = map(int, sys.argv[1].split("-"))
for seed in range(a, b + 1):
    t = time.perf_counter()
    r = run(seed)
    print(r, r.steps, round(r.seconds), round(time.perf_counter() - t, 2), flush=True)
