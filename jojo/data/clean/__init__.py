"""Text cleaned up and reworded.

detokenize.py  spacing and punctuation of tokenized corpora restored
truecase.py    capitals of lower-cased corpora restored
refine.py      assistant turns made clear and polite
rules.py       rules that reword text, and how they are applied
style.py       speech patterns of a persona
anonymize.py   names, numbers, addresses and links removed
"""
