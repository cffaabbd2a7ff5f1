"""Vocabulary and chat templates.

template.py  conversations <-> token ids, and the loss mask
dialects.py  the same templates in Jinja (Hugging Face) and Go (Ollama)
"""
