"""Training and fine-tuning.

config.py      settings of train.py and train_chatbot.py
run.py         a run, from its start or resumed, to its end
trainer.py     its model, data and optimizers; a step; its state
loop.py        the training loop; there is one
plan.py        what a run will take, measured before it starts
optim.py       Muon and AdamW, the schedule
loss.py        chunked cross entropy
validation.py  the validation loss
finetune.py    where fine-tuning starts
samples.py     a conversation with a model in training
progress.py    the bar, metrics, curves
chatbot.py     what train_chatbot.py does
"""
