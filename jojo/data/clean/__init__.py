"""Text cleaned up and reworded.

detokenize.py  spacing and punctuation of tokenized corpora
truecase.py    capitals of lower-cased ones
refine.py      assistant turns made clear and polite
style.py       speech patterns of a persona
anonymize.py   names, numbers, addresses and links taken out
"""
