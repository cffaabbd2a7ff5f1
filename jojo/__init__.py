"""The machinery behind the commands; each package imports only what stands above it.

command.py  flags, one-line errors, exit codes
files.py    files that appear whole or not at all
device.py   device, precision, compiler, memory
text/       vocabulary and chat templates
web/        downloads, and asking servers
data/       from raw files to token files and batches
models/     checkpoints, Hugging Face folders, the hub, adapters
chat/       sampling, a conversation's memory, the terminal
train/      training and fine-tuning
export/     Hugging Face, GGUF, Ollama, PEFT, and the proof
measure/    evaluation and benchmarks
"""
