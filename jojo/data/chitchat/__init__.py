"""Generated chit-chat.

table.py  the phrasing table data/chitchat.toml, read
talk.py   conversations from it
judge.py  whether a reply carries its intent
"""
