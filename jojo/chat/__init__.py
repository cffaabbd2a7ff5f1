"""Talking to a model.

config.py    settings of sampling, gen.py and interact.py
sampling.py  drawing tokens, with a KV cache
engine.py    replies, drawn and read up to their end
memory.py    a conversation: memory, trimming, streaming replies
examples.py  example interactions before a chat
opened.py    a model opened to generate with
terminal.py  the chat in a terminal
session.py   what gen.py does
"""
