"""`python -m disttrack.writer RUNTIME_DIR LAUNCH_KEY`: be the writer of a launch, if nobody else is."""

import os
import sys

if __name__ == "__main__":
    # Before anything is imported: whoever started us waits for this half only, and has no child to reap later.
    if os.fork():
        os._exit(0)
    from disttrack.writer.process import main

    sys.exit(main(sys.argv[1], sys.argv[2]))
