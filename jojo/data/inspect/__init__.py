"""A dataset looked at.

preview.py    conversations token by token, as the model sees them
tokenview.py  the same drawn, for a terminal or as a page
quality.py    figures, good signs, warnings
verdict.py    what they come to
wording.py    casual, formal, code, toxic and personal wording
"""
