"""The classic command: python train.py CONFIG.yml [key=value ...]"""

from paragonsr.cli import train_main

train_main()
