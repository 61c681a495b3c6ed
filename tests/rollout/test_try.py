import sys, time
from pathlib import Path
import pytest
from tests.rollout.machines import *
from tests.rollout.ansible import Play

def test_x(embedded, tmp_path):
    t=time.time()
    wheel=light_wheel(tmp_path/"wheel"); print("wheel", time.time()-t)
    with Site(embedded, tmp_path, wheel) as site:
        play=Play(site)
        for i in range(2):
            t=time.time(); r=play.run("--diff"); print(r.said, r.changed, time.time()-t)
        for m in site.machines.values():
            print(m.calls(), {k: oct(v[0]) for k, v in m.tree().items()})
            print((m.etc/"node.toml").read_text())
        for m in site.machines.values(): m.start()
        print(site.ping())
