"""What the gateway tells about itself: Prometheus metrics and one JSON line a request on stderr.

Neither ever holds a header, a query string, or anything of a body.
"""

from __future__ import annotations

import json
import sys
import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """The gateway's numbers, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        r = self.registry
        self.requests = Counter(
            "cotam_gateway_requests", "Requests by route and status.", ["route", "status"], registry=r
        )
        self.refusals = Counter(
            "cotam_gateway_refusals", "Answers of the gateway's own, by reason.", ["code"], registry=r
        )
        self.pictures = Counter("cotam_gateway_pictures", "Pictures decoded.", registry=r)
        self.ctm_bytes = Counter("cotam_gateway_ctm_bytes", "Bytes of .ctm files decoded.", registry=r)
        self.in_flight = Gauge("cotam_gateway_requests_in_flight", "Requests now.", registry=r)
        self.waiting = Gauge("cotam_gateway_pictures_in_flight", "Pictures queued or decoding.", registry=r)
        self.decode = Histogram(
            "cotam_gateway_decode_seconds", "A worker's time for a picture.", buckets=_SECONDS, registry=r
        )
        self.rewrite = Histogram(
            "cotam_gateway_rewrite_seconds",
            "Waiting and decoding of all pictures of a request.",
            buckets=_SECONDS,
            registry=r,
        )
        self.upstream = Histogram(
            "cotam_gateway_upstream_seconds", "Until the upstream's headers.", buckets=_SECONDS, registry=r
        )


def log(event: str, **fields: object) -> None:
    """Write one JSON line on stderr."""
    line = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "event": event, **fields}
    sys.stderr.write(json.dumps(line) + "\n")
    sys.stderr.flush()
