"""Public datasets: where they come from, and a reader for each.

origins.py       places, licences, papers and sizes, in one table
dialogues.py     what readers of dialogues share
dailydialog.py   DailyDialog
personachat.py   Persona-Chat (ConvAI2)
blended.py       BlendedSkillTalk
cornell.py       Cornell Movie-Dialogs
empathetic.py    EmpatheticDialogues
byu.py           the Chit-Chat Challenge
instructions.py  Dolly, OpenAssistant, ShareGPT, Alpaca
stories.py       TinyStories
squad.py         SQuAD
knowledge.py     questions answered by a passage or a chat model
llm.py           a chat model behind an OpenAI-compatible URL
dictionary.py    a dictionary as questions and answers
wordnet.py       WordNet
"""
