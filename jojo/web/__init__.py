"""Downloads, and servers asked politely.

download.py  verified, resumable downloads
asking.py    many questions to one server, each asked once
journal.py   the answers, in SQLite, kept across kills
"""
