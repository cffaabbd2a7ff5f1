"""Files of records, tables and text, streamed; one record -> messages.

archives.py  folders and archives, walked within limits
textfile.py  text in any encoding, plain or gzipped
records.py   JSON, JSON lines, CSV, TSV, parquet
tables.py    CSV and TSV of any dialect
rows.py      a row for every turn -> a record for every conversation
shapes.py    the shapes of a record -> messages
markup.py    text of replies saved as HTML
"""
