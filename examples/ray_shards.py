"""Turn a folder of pictures into WebDataset shards of .ctm files, on a Ray cluster or on this machine.

python ray_shards.py PICTURES SHARDS [QUALITY]        pip install "cotam-cli[ray]"
"""

import sys
import time
from pathlib import Path

import ray

from cotam_cli.integrations.ray import Encoder

source, target = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
quality = float(sys.argv[3]) if len(sys.argv) > 3 else 3.0
LITTLE = 0.1  # of a core for steps that only move bytes, so that none stands idle beside one that encodes


def as_samples(batch: dict) -> dict:
    """Name the samples by their path below the source folder; dots would end a key."""
    names = [Path(path).resolve().relative_to(source).with_suffix("") for path in batch["path"]]
    return {
        "__key__": [str(name).replace(".", "_") for name in names],
        "ctm": batch["ctm"],
        "error": batch["error"],
    }


ray.init(ignore_reinit_error=True)
actors = int(ray.cluster_resources()["CPU"])
began = time.perf_counter()
coded = (
    ray.data.read_binary_files(
        str(source),
        include_paths=True,
        file_extensions=["png", "jpg", "jpeg", "webp"],
        num_cpus=LITTLE,
    )
    .map_batches(
        Encoder,
        batch_size=16,
        num_cpus=1 - LITTLE,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors),
        fn_constructor_kwargs={"quality": quality},
    )
    .map_batches(as_samples, num_cpus=LITTLE)
    .materialize()
)
seconds = time.perf_counter() - began
failed = coded.filter(lambda row: row["error"] != "").take_all()
whole = coded.filter(lambda row: row["error"] == "").drop_columns(["error"])
whole.write_webdataset(str(target))
count = whole.count()
print(
    f"{count} pictures in {seconds:.1f} s on {actors} cores, {3600 * count / seconds / actors:.0f} a core-hour"
)
for row in failed:
    print(f"{row['__key__']}: {row['error']}", file=sys.stderr)
sys.exit(1 if failed else 0)
