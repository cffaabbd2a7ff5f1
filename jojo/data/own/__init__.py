"""Your own chats, in whatever form they are kept.

recipe.py      files, folders and archives -> conversations
found.py       what lies in them
kinds.py       what a single file is, told by its content
transcript.py  lines of a chat export -> conversations
speakers.py    chats as <speaker1> and <speaker2> lines
textchats.py   ChatML and labelled lines
discord.py     DiscordChatExporter
slack.py       Slack workspaces
telegram.py    Telegram Desktop
whatsapp.py    WhatsApp
interviews.py  flat lists of messages
aichats.py     ChatGPT and Claude
"""
