"""Evaluation and benchmarks.

config.py      settings of eval.py and bench.py
evaluate.py    validation loss, replies to held-out phrasings
training.py    preparing and training beside plain references
generation.py  generation beside transformers and llama.cpp
programs.py    those programs, each in a process of its own
"""
