"""`python -m sensorium.cli`, as the command `sensorium`."""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        sys.path.pop(0)  # the current folder, which the `sensorium` command does not look into either
    from sensorium.cli.main import main

    main()
