"""How networks are opened: ONNX Runtime on the processor, quiet beside other work; and the cores that there are."""

from __future__ import annotations

import os
from typing import Any

from cotam_cli.errors import CotamError, ModelError


def open_session(model: bytes | str, threads: int | None = None) -> Any:
    """An ONNX Runtime session for the bytes or the path of a model; threads None: those of COTAM_THREADS.

    Raises ModelError where ONNX Runtime cannot be loaded, and ONNX Runtime's own errors, which have no common base,
    for what is no model.
    """
    try:
        import onnxruntime
    except Exception as error:  # a broken installation fails in many ways, ImportError is but one
        raise ModelError(
            f"onnxruntime cannot be loaded ({error}); reinstall it: pip install --force-reinstall onnxruntime"
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = _threads() if threads is None else threads
    options.enable_cpu_mem_arena = False  # tiles of several sizes would each leave their memory behind
    # its threads would wait in a busy loop, on the cores that NumPy's matrix products come to next
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _threads() -> int:
    """Threads of one network, from COTAM_THREADS: for programs that run many decoders side by side.

    0, the default, takes all cores, and nothing takes more. Raises CotamError for what is no number.
    """
    text = os.environ.get("COTAM_THREADS", "0")
    if not text.isdecimal():
        raise CotamError(f"COTAM_THREADS is {text!r}; set it to a number of threads, or 0 for all cores")
    return min(int(text), os.cpu_count() or 1)
