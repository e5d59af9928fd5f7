"""PyTorch and ONNX Runtime on the same device, in processes of their own: two libraries in one would share settings.

PyTorch runs timm's networks with channels last; eager, and compiled with `max-autotune`. Times are those of CUDA events
around many calls, inputs on the device, as ours are. A peer that is not there says so in its record.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from on_gpu.book import Record

TIMM = {
    "resnet50": "resnet50", "mobilenet_v2": "mobilenetv2_100", "efficientnet_b0": "efficientnet_b0", "vgg16": "vgg16",
    "resnet18": "resnet18", "resnet34": "resnet34", "resnet101": "resnet101", "densenet121": "densenet121",
    "convnext_tiny": "convnext_tiny", "vgg11_bn": "vgg11_bn",
}  # fmt: skip
INFERENCE = ("torch eager", "torch compile", "onnxruntime")
TRAINING = ("torch eager", "torch compile")
SECONDS = 240
"""A peer that takes longer, compilation included, is given up."""

COMMON = """
import json, statistics, sys, time, warnings
warnings.simplefilter("ignore")
import torch
torch.backends.cudnn.benchmark = True
tf32 = {precision!r} == "tf32"
torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
kind = torch.float32 if tf32 else getattr(torch, {precision!r})

def timed(run):
    for _ in range(5):
        run()
    torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    torch.cuda.synchronize()
    once = time.perf_counter() - start
    repeats = max(3, min(300, int({seconds} / 7 / max(once, 1e-5))))
    rounds = []
    for _ in range(7):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(repeats):
            run()
        end.record()
        end.synchronize()
        rounds.append(begin.elapsed_time(end) / repeats)
    waits = []
    for _ in range({latency}):
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        waits.append(time.perf_counter() - start)
    return {{"ms": statistics.median(rounds), "latency_ms": 1e3 * statistics.median(waits)}}
"""
TORCH = """
import timm
model = timm.create_model({timm!r}, pretrained=False).cuda().eval().to(kind).to(memory_format=torch.channels_last)
x = torch.randn({batch}, 3, {size}, {size}, device="cuda", dtype=kind).contiguous(memory_format=torch.channels_last)
if {compiled}:
    model = torch.compile(model, mode="max-autotune")
start = time.perf_counter()
with torch.inference_mode():
    model(x)
    torch.cuda.synchronize()
    prepared = time.perf_counter() - start
    found = timed(lambda: model(x))
found |= {{"prepare_s": prepared, "torch": torch.__version__, "cudnn": torch.backends.cudnn.version()}}
print(json.dumps(found))
"""
TRAIN = """
import timm
model = timm.create_model({timm!r}, pretrained=False).cuda().train().to(memory_format=torch.channels_last)
x = torch.randn({batch}, 3, {size}, {size}, device="cuda").contiguous(memory_format=torch.channels_last)
labels = torch.randint(0, 1000, ({batch},), device="cuda")
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4, fused=True)
scaler = torch.amp.GradScaler("cuda", enabled=kind is torch.float16)
if {compiled}:
    model = torch.compile(model, mode="max-autotune")

def step():
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast("cuda", kind, enabled=kind is not torch.float32):
        loss = torch.nn.functional.cross_entropy(model(x), labels)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()

start = time.perf_counter()
step()
torch.cuda.synchronize()
prepared = time.perf_counter() - start
found = timed(step)
print(json.dumps(found | {{"prepare_s": prepared, "torch": torch.__version__}}))
"""
ONNX = """
import json, statistics, sys, time
import numpy as np
import onnxruntime as engine
if "CUDAExecutionProvider" not in engine.get_available_providers():
    print(json.dumps({{"absent": "ONNX Runtime has no CUDA provider here"}}))
    sys.exit()
import io, torch, timm
# Its CUDA provider has few kernels for bfloat16.
kind = torch.float16 if {precision!r} in ("float16", "bfloat16") else torch.float32
model = timm.create_model({timm!r}, pretrained=False).cuda().eval().to(kind)
x = torch.randn({batch}, 3, {size}, {size}, device="cuda", dtype=kind)
file = io.BytesIO()
torch.onnx.export(model, (x,), file, input_names=["x"], output_names=["y"], dynamo=False)
session = engine.InferenceSession(file.getvalue(), providers=["CUDAExecutionProvider"])
y = torch.empty({batch}, 1000, device="cuda", dtype=kind)
binding = session.io_binding()
element = np.float32 if kind is torch.float32 else np.float16
binding.bind_input("x", "cuda", 0, element, tuple(x.shape), x.data_ptr())
binding.bind_output("y", "cuda", 0, element, tuple(y.shape), y.data_ptr())
times = []
for _ in range(5):
    session.run_with_iobinding(binding)
end = time.perf_counter() + {seconds}
while time.perf_counter() < end or len(times) < 5:
    start = time.perf_counter()
    session.run_with_iobinding(binding)
    torch.cuda.synchronize()
    times.append(1e3 * (time.perf_counter() - start))
ms = statistics.median(times)
print(json.dumps({{"ms": ms, "latency_ms": ms, "onnxruntime": engine.__version__, "kind": str(kind)}}))
"""


def inference(setup: Any, peer: str, name: str, batch: int, precision: str) -> Record:
    if name not in TIMM:
        return {"absent": f"timm has no {name}"}
    if peer == "onnxruntime":
        return _run(setup, ONNX, name, batch, precision, False)
    return _run(setup, COMMON + TORCH, name, batch, precision, peer == "torch compile")


def training(setup: Any, peer: str, name: str, batch: int, precision: str) -> Record:
    if name not in TIMM:
        return {"absent": f"timm has no {name}"}
    return _run(setup, COMMON + TRAIN, name, batch, precision, peer == "torch compile")


def _run(setup: Any, program: str, name: str, batch: int, precision: str, compiled: bool) -> Record:
    text = program.format(
        timm=TIMM[name], batch=batch, size=224, precision=precision, compiled=compiled, seconds=setup.options.seconds,
        latency=200 if batch == 1 else 20,
    )  # fmt: skip
    python = setup.options.peer_python or sys.executable
    # A peer waits for nothing of ours, and our cache is none of its business.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    try:
        done = subprocess.run(
            [python, "-"], input=text, capture_output=True, text=True, timeout=SECONDS, check=False, env=environment
        )
    except subprocess.TimeoutExpired:
        return {"absent": f"given up after {SECONDS} s"}
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        message = lines[-1] if lines else f"it ended with {done.returncode}"
        if "No module named" in message:
            return {"absent": message}
        raise RuntimeError(message)
    found: Record = json.loads(done.stdout.strip().splitlines()[-1])
    if "ms" in found:
        found["images_per_second"] = 1e3 * batch / found["ms"]
    return found
