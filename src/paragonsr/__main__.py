"""python -m paragonsr"""

from paragonsr.cli import main

main()
