"""The classic command: python train.py CONFIG.yml [key=value ...]"""

import sys

from paragonsr.__main__ import main

if __name__ == "__main__":
    sys.argv.insert(1, "train")
    main()
