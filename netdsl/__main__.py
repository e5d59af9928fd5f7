"""`python -m netdsl` is the `netdsl` command."""

from netdsl.cli.main import main

if __name__ == "__main__":
    main()
