"""Models as files.

checkpoint.py         .pt files: the only torch.save and torch.load
names.py              names of models, checked without torch
pretrained.py         any trained model opened: checkpoint, adapter, folder, hub
weights.py            a model filled with weights, fingerprinted, its vocabulary grown
hf.py                 Hugging Face weights <-> ours
hf_config.py          their config.json
hf_tokenizer.py       their tokenizer files
hub.py                models of huggingface.co, fetched once
lora.py               adapters beside frozen weights
active_vocabulary.py  a head of only the rows the data uses
nanogpt.py            checkpoints of nanoGPT and of the first Jojo
provenance.py         what a model was made from: data, bases, licences
"""
