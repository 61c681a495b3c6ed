"""python -m tests.simulation --seeds 1-100"""
import sys, time
from tests.simulation.run import run
a, b = map(int, sys.argv[1].split("-"))
good = 0
for seed in range(a, b + 1):
    t = time.perf_counter()
    r = run(seed)
    if len(sys.argv) > 2:
        for e in sorted(r.history, key=lambda e: e.at): print(e)
    good += r.good
    if not r.good: print(str(r)[-int(1500):], r.steps, round(r.seconds), round(time.perf_counter() - t, 2), flush=True)
print(good, "good")
