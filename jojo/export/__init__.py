"""Other programs' formats, each proven before it takes its place.

config.py              settings of convert.py
convert.py             what convert.py does
hf_folder.py           Hugging Face folders
folder.py              folders that appear whole or not at all
gguf.py                GGUF files for llama.cpp, Ollama, LM Studio
ollama.py              a Modelfile
peft.py                an adapter by itself
save.py                an opened model written again, in full precision
proof.py               what is asked here and there, and how it is compared
proof_transformers.py  a Hugging Face folder, as transformers reads it
proof_gguf.py          a GGUF file read back, and llama.cpp asked
llamacpp.py            llama.cpp in a process of its own; its quantizer
process.py             processes of their own
card.py                the model card
publish.py             what a published file may tell
push.py                uploads to huggingface.co
"""
