"""From raw files to token files to batches.

contract.py  what a recipe is: options, tally, sources
prepare.py   a recipe run as a command, and its report
pipeline.py  duplicates dropped, splits, tokenizing beside reading
dedup.py     exact and near duplicates
splits.py    which split a text goes to
bins.py      token files and their manifest
batches.py   windows of a token file, packed and shuffled without state
mixture.py   several datasets as one
recipes.py   every recipe, for lists
own/         your own chats
public/      public datasets
formats/     files of records, tables and text; one record -> messages
chitchat/    generated chit-chat
clean/       text cleaned up, speech patterns, anonymizing
inspect/     previews and reports
"""
