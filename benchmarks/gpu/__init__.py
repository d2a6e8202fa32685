"""The GPU kit: `make gpu-check` measures parity and speed, and writes the tables of docs/gpu.md."""
