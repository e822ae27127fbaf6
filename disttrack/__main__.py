"""`python -m disttrack` is the command `disttrack`."""

from disttrack.cli import main

if __name__ == "__main__":
    main()
