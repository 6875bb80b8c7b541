"""`python -m intriguing`: the command line, where its script is not on the path."""

from intriguing.cli import main

if __name__ == "__main__":
    main()
