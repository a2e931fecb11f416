"""What beside its settings decides over a training's last digits: `python -m trainers.environment` prints it as JSON."""

import importlib.metadata
import json
import os
import platform

import torch

PACKAGES = ("torch", "transformers", "trl", "datasets", "accelerate", "peft", "tokenizers", "safetensors", "gguf")


def package_versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # gguf is needed for .gguf files alone
    return versions


def hardware(processes: int) -> str:
    """Accelerator or processor, and how many: '8 x NVIDIA H100' or '1 x CPU x86_64 (AVX512), 2 threads on 2 cores'.

    On a CPU, instruction set and threads decide over the last digits.
    """
    if torch.cuda.is_available():
        return f"{processes} x {torch.cuda.get_device_name()}"
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{processes} x CPU {platform.machine()} ({capability}), {torch.get_num_threads()} threads on {os.cpu_count()} cores"


if __name__ == "__main__":
    print(json.dumps({"package_versions": package_versions(), "hardware": hardware(1)}))
